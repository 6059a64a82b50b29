//! The inputs that every part of an execution shares.

use super::event::Report;
use crate::resolve::Desired;
use crate::resource::{Resource, ResourceId, Run};
use crate::systems::{Failure, Systems};
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

impl<'a, M> Execution<'a, M> {
    /// Returns a declared resource; an error is a defect, for a plan names only what is declared.
    pub(super) fn declared(self, id: &ResourceId) -> Result<&'a Resource, Failure> {
        self.desired.resources.get(id).ok_or_else(|| mismatch(id))
    }

    /// Returns a declared server and its run.
    pub(super) fn server(self, id: &ResourceId) -> Result<(&'a Resource, &'a Run), Failure> {
        let resource = self.declared(id)?;
        resource.run().map(|run| (resource, run)).ok_or_else(|| mismatch(id))
    }
}

/// Returns the failure for a plan that does not match its desired state.
pub(super) fn mismatch(id: &ResourceId) -> Failure {
    Failure::new(id, format!("internal error: plan and desired state disagree on {id}"))
}
