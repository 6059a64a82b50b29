//! Executes a plan: one call per step, then the health gate.
//!
//! It makes no decisions about the desired state: it only determines whether a call has succeeded and whether a
//! server is verified.

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

/// The inputs of every part of an execution.
pub struct Execution<'a, M = Systems> {
    /// The desired state.
    pub desired: &'a Desired,
    /// Every resource that any generation may have created, with its path.
    pub inventory: &'a [Resource],
    /// The machine.
    pub systems: &'a M,
    /// Receives every event.
    pub report: &'a Report<'a>,
    /// Set when the execution is to stop.
    pub cancel: &'a CancellationToken,
}

// A derive would require a machine that can be cloned.
impl<M> Clone for Execution<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Execution<'_, M> {}
