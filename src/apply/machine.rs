//! The machine as a transaction uses it: observation, single steps, and health.
//!
//! [`Systems`](crate::systems::Systems) is the real one. A simulation provides another, so the same execution, gate and rollback run on both.

use super::execution::Execution;
use crate::live::{LiveRun, Observation, Presence};
use crate::observe::Depth;
use crate::plan::Step;
use crate::resolve::Desired;
use crate::resource::{Digest, Health, Resource, ResourceId, Run, SecretReference};
use crate::systems::Failure;
use crate::systems::clock::Clock;
use crate::systems::listener::Foreign;
use crate::systems::secrets::{self, Secret};
use std::collections::BTreeMap;

/// One machine.
#[expect(async_fn_in_trait, reason = "every user is generic over it, and nothing that holds one is spawned")]
pub trait Machine: Clock + Sized {
    /// Observes every resource that is desired or in the inventory, and all others with the stack's ownership marker.
    async fn observe(&self, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation;

    /// Makes the one call that a step names. Waiting for health is not among them.
    async fn perform(&self, execution: Execution<'_, Self>, step: &Step) -> Result<(), Failure>;

    /// Looks at one server.
    async fn inspect(&self, stack: &str, id: &ResourceId) -> Presence;

    /// Probes a running server, unless another program listens in its place.
    async fn health(&self, stack: &str, server: (&ResourceId, &Run), live: &LiveRun) -> Result<Health, Foreign>;

    /// Returns the content that each model has now.
    async fn contents(&self, desired: &Desired) -> BTreeMap<ResourceId, Digest>;

    /// Returns how much a server has written to its log, in bytes, where that is known.
    fn log_size(&self, id: &ResourceId) -> u64;

    /// Returns the last lines that a server wrote.
    async fn log(&self, stack: &str, id: &ResourceId) -> Vec<String>;

    /// Returns the value of a secret.
    fn secret(&self, reference: &SecretReference) -> Result<Secret, secrets::Error>;

    /// Returns the digest that stands for the value of a secret, where it can be read.
    fn secret_digest(&self, reference: &SecretReference) -> Option<Digest>;
}
