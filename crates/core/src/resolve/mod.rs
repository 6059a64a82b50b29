//! The stack as it is wanted: every resource, nothing left to choose.
//!
//! [`Desired`] is the whole desired state as plain data. It is what the planner compares with the machine, what a
//! generation keeps, and what a rollback leads to.

mod build;
mod cache;
mod canary;
mod check;
mod container;
mod desired;
mod externals;
mod facts;
mod gateway;
mod gpus;
mod identities;
mod program;
mod providers;
mod references;
mod run;
mod secrets;
mod server;
mod service;
mod stack;
mod unknown;

pub use crate::engines::{Route, Routing};
pub use canary::{First, PreviousRoutes, canary};
pub use check::check;
pub use desired::{Canary, Desired, Drift, Policy};
pub use facts::{Directories, Facts, Questions, SecretFact, questions};
pub use stack::resolve;
pub use unknown::UnknownSecret;
