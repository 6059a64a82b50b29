//! Walks a plan: one call for each step, then the health gate.
//!
//! It never decides what should be: a step names a call, and the call is made. What can be decided here is only whether
//! a call has succeeded and whether a server has proved itself.

mod event;
mod excerpt;
mod execute;
mod gate;
mod health;
mod machine;
mod model;
mod step;
mod trial;

pub use event::{Event, Report};
pub use execute::{Executed, execute};
pub use gate::gate;
pub use machine::Machine;
pub use step::Failure;

use crate::resolve::Desired;
use crate::resource::Resource;
use crate::systems::Systems;
use tokio_util::sync::CancellationToken;

/// What every part of an execution needs.
pub struct Execution<'a, M = Systems> {
    /// The desired state.
    pub desired: &'a Desired,
    /// Everything that any generation may have made, with its path.
    pub inventory: &'a [Resource],
    /// The machine.
    pub systems: &'a M,
    /// Receives every event.
    pub report: &'a Report<'a>,
    /// Set when the execution is to stop.
    pub cancel: &'a CancellationToken,
}

// Derived, these would ask for a machine that can be copied.
impl<M> Clone for Execution<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Execution<'_, M> {}
