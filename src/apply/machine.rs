//! The machine as a transaction sees it: what is there, one step at a time, and how a server is.
//!
//! [`Systems`] is the real one. A simulation brings another, so the same execution, gate and rollback run on both.

use super::{Execution, Failure, container, excerpt, handoff, step};
use crate::live::{LiveRun, Observation, Presence};
use crate::observe::{self, Depth, health_of, inspect};
use crate::plan::Action;
use crate::resolve::Desired;
use crate::resource::{Digest, Health, Kind, Resource, ResourceId, Run, SecretReference};
use crate::systems::clock::Clock;
use crate::systems::listener::{Foreign, Sockets};
use crate::systems::secrets::{self, Secret};
use crate::systems::{Systems, files};
use std::collections::BTreeMap;

/// One machine.
#[expect(async_fn_in_trait, reason = "every user is generic over it, and nothing that holds one is spawned")]
pub trait Machine: Clock + Sized {
    /// Looks at everything that is desired or was ever made, and whatever else carries the stack's marker.
    async fn observe(&self, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation;

    /// Makes the one call that `action` names. Waiting for health is not among them.
    async fn perform(&self, execution: Execution<'_, Self>, action: &Action) -> Result<(), Failure>;

    /// Looks at one server.
    async fn inspect(&self, stack: &str, id: &ResourceId) -> Presence;

    /// Asks a server that runs how it is, unless another program listens in its place.
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

impl Machine for Systems {
    async fn observe(&self, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation {
        observe::observe(self, desired, inventory, depth).await
    }

    async fn perform(&self, execution: Execution<'_>, action: &Action) -> Result<(), Failure> {
        step::perform(execution, action).await
    }

    async fn inspect(&self, stack: &str, id: &ResourceId) -> Presence {
        inspect(self, stack, id).await
    }

    async fn health(&self, stack: &str, server: (&ResourceId, &Run), live: &LiveRun) -> Result<Health, Foreign> {
        health_of(self, &Sockets::look(), stack, server, live).await
    }

    async fn contents(&self, desired: &Desired) -> BTreeMap<ResourceId, Digest> {
        observe::contents(self, desired).await
    }

    fn log_size(&self, id: &ResourceId) -> u64 {
        files::stamp(&self.processes.log(&id.name)).ok().flatten().map_or(0, |(size, _)| size.0)
    }

    async fn log(&self, stack: &str, id: &ResourceId) -> Vec<String> {
        match id.kind {
            Kind::Unit => match self.systemd().await {
                Ok(systemd) => systemd.last_lines(&handoff::running_unit(self, id), excerpt::SEARCHED).await,
                Err(_) => Vec::new(),
            },
            Kind::Process => self.processes.last_lines(&id.name, excerpt::SEARCHED),
            Kind::Container => container::last_lines(self, stack, id, excerpt::SEARCHED).await,
            _ => Vec::new(),
        }
    }

    fn secret(&self, reference: &SecretReference) -> Result<Secret, secrets::Error> {
        secrets::resolve(reference)
    }

    fn secret_digest(&self, reference: &SecretReference) -> Option<Digest> {
        Some(secrets::digest(&secrets::resolve(reference).ok()?))
    }
}
