//! Proof that a thing is ours. A step that stops, replaces or removes something holds one, and only this file makes
//! them, from what the thing itself says: a plan that touches a stranger's thing cannot be written down.

use super::{Found, Seen};
use crate::resource::{Kind, ResourceId};
use serde::Serialize;

/// The name of a resource that was seen to be ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Ours(ResourceId);

impl Ours {
    /// Returns the proof, if what was seen of `id` carries the mark of `stack`, or lies where only llamero writes.
    #[must_use]
    pub fn prove(stack: &str, id: &ResourceId, seen: &Seen) -> Option<Self> {
        let Seen::Present(found) = seen else { return None };
        let ours = match found {
            Found::File(file) => file.marker.as_ref().is_some_and(|claim| claim.stack == stack),
            Found::Run(run) => run.definition.as_ref().is_some_and(|claim| claim.stack == stack),
            Found::Artifact { ours, .. } | Found::Image { ours } => *ours,
            Found::Model { recorded, .. } => recorded.is_some(),
            // Environments lie in a folder of llamero's own, under names made of digests.
            Found::Environment { .. } => id.kind == Kind::Environment,
            // A secret is made once and then belongs to the user.
            Found::Secret => false,
        };
        ours.then(|| Self(id.clone()))
    }

    /// Returns the resource's name.
    #[must_use]
    pub const fn id(&self) -> &ResourceId {
        &self.0
    }
}
