//! Proof that a live resource is managed by llamero. A step that stops, replaces or removes a resource holds one, and
//! only this module constructs it, from the resource's ownership marker: a plan cannot express a change to an
//! unmanaged resource.

use super::{Live, Presence};
use crate::resource::{Kind, ResourceId};
use serde::Serialize;

/// The id of a live resource that is proven to be managed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Managed(ResourceId);

impl Managed {
    /// Returns the proof, if `id` carries the ownership marker of `stack`, or lies at a path that only llamero writes
    /// to.
    #[must_use]
    pub fn prove(stack: &str, id: &ResourceId, presence: &Presence) -> Option<Self> {
        let Presence::Present(live) = presence else { return None };
        let managed = match live {
            Live::File(file) => file.marker.as_ref().is_some_and(|claim| claim.stack == stack),
            Live::Run(run) => run.definition.as_ref().is_some_and(|claim| claim.stack == stack),
            Live::Artifact { managed, .. } | Live::Image { managed } => *managed,
            Live::Model { recorded, .. } => recorded.is_some(),
            // Environments lie in llamero's own folder, under names made of digests.
            Live::Environment { .. } => id.kind == Kind::Environment,
            // A secret is generated once and then belongs to the user.
            Live::Secret => false,
        };
        managed.then(|| Self(id.clone()))
    }

    /// Returns the resource's id.
    #[must_use]
    pub const fn id(&self) -> &ResourceId {
        &self.0
    }
}
