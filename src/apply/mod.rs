//! Walks a plan: one call for each step, then the health gate.
//!
//! It never decides what should be: a step names a call, and the call is made. What can be decided here is only whether
//! a call has succeeded and whether a server has proved itself.

mod container;
mod event;
mod excerpt;
mod execute;
mod gate;
mod handoff;
mod health;
mod model;
mod step;
mod trial;

pub use event::{Event, Report};
pub use execute::{Executed, execute};
pub use gate::gate;
pub use step::Failure;

use crate::resolve::Desired;
use crate::resource::Resource;
use crate::systems::Systems;
use tokio_util::sync::CancellationToken;

/// What every part of a walk needs.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    /// The wish.
    pub desired: &'a Desired,
    /// Everything that any generation may have made, with its place.
    pub inventory: &'a [Resource],
    /// The outside world.
    pub systems: &'a Systems,
    /// Who is told what happens.
    pub report: &'a Report<'a>,
    /// Set when somebody wants this to stop.
    pub cancel: &'a CancellationToken,
}
