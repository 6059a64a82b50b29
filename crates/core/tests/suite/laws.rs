//! The laws of the planner, tried on generated stacks and machines without touching one.
//!
//! Steps are executed in the planner's own model of the machine. The tests of the adapters show that the model is
//! accurate.

mod bounds;
mod condition;
mod coverage;
mod ends;
mod generate;
mod identities;
mod manifests;
mod numbers;
mod order;
mod walk;

use proptest::test_runner::{Config, FileFailurePersistence};

fn config() -> Config {
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel("regressions"))),
        ..Config::default()
    }
}
