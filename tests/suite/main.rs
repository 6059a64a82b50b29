//! The one test binary. Pure tests and tests against fakes run anywhere; those under `real` need real parts and are
//! run by the real lane.

mod architecture;
pub(crate) mod bad;
mod cli;
mod docker;
mod downloads;
mod fakes;
mod files;
mod health;
mod ollama;
mod parts;
mod process;
mod python;
mod real;
#[path = "../../crates/core/tests/suite/sample.rs"]
mod sample;
mod states;
mod systemd;
mod trial;

/// Prints that a test was skipped, and the reason.
#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
