//! Proof that a thing is ours. A step that stops, replaces or removes something holds one, and only this file makes
//! them, from what the thing itself says: a plan that touches a stranger's thing cannot be written down.

use super::{Live, Presence};
use crate::resource::{Kind, ResourceId};
use serde::Serialize;

/// The name of a resource that was seen to be ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Managed(ResourceId);

impl Managed {
    /// Returns the proof, if what was seen of `id` carries the mark of `stack`, or lies where only llamero writes.
    #[must_use]
    pub fn prove(stack: &str, id: &ResourceId, presence: &Presence) -> Option<Self> {
        let Presence::Present(live) = presence else { return None };
        let managed = match live {
            Live::File(file) => file.marker.as_ref().is_some_and(|claim| claim.stack == stack),
            Live::Run(run) => run.definition.as_ref().is_some_and(|claim| claim.stack == stack),
            Live::Artifact { managed, .. } | Live::Image { managed } => *managed,
            Live::Model { recorded, .. } => recorded.is_some(),
            // Environments lie in a folder of llamero's own, under names made of digests.
            Live::Environment { .. } => id.kind == Kind::Environment,
            // A secret is made once and then belongs to the user.
            Live::Secret => false,
        };
        managed.then(|| Self(id.clone()))
    }

    /// Returns the resource's name.
    #[must_use]
    pub const fn id(&self) -> &ResourceId {
        &self.0
    }
}
