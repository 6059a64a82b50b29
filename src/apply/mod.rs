//! Executes a plan: one call per step, then the health gate.
//!
//! It makes no decisions about the desired state: it only determines whether a call has succeeded and whether a
//! server is verified.

mod event;
mod excerpt;
mod execute;
mod execution;
mod gate;
mod health;
mod log;
mod machine;
mod model;
mod real;
mod step;
mod trial;

pub use crate::systems::Failure;
pub use event::{Event, Report};
pub use execute::{Executed, execute};
pub use execution::Execution;
pub use gate::gate;
pub use machine::Machine;
