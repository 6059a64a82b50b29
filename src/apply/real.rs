//! The real machine.

use super::{Execution, Failure, Machine, excerpt, step};
use crate::live::{LiveRun, Observation, Presence};
use crate::observe::{self, Depth, health_of, inspect};
use crate::plan::Step;
use crate::resolve::Desired;
use crate::resource::{Digest, Health, Resource, ResourceId, Run, SecretReference};
use crate::systems::Systems;
use crate::systems::listener::{Foreign, Sockets};
use crate::systems::secrets::{self, Secret};
use crate::targets::{self, Scope};
use std::collections::BTreeMap;

impl Machine for Systems {
    async fn observe(&self, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation {
        observe::observe(self, desired, inventory, depth).await
    }

    async fn perform(&self, execution: Execution<'_>, step: &Step) -> Result<(), Failure> {
        step::perform(execution, step).await
    }

    async fn inspect(&self, stack: &str, id: &ResourceId) -> Presence {
        inspect(self, stack, id).await
    }

    async fn health(&self, stack: &str, server: (&ResourceId, &Run), live: &LiveRun) -> Result<Health, Foreign> {
        health_of(self, &Sockets::default(), stack, server, live).await
    }

    async fn contents(&self, desired: &Desired) -> BTreeMap<ResourceId, Digest> {
        observe::contents(self, desired).await
    }

    fn log_size(&self, id: &ResourceId) -> u64 {
        targets::driver(id.kind).map_or(0, |driver| driver.log_size(self, id))
    }

    async fn log(&self, stack: &str, id: &ResourceId) -> Vec<String> {
        match targets::driver(id.kind) {
            Some(driver) => driver.last_lines(Scope { systems: self, stack }, id, excerpt::SEARCHED).await,
            None => Vec::new(),
        }
    }

    fn secret(&self, reference: &SecretReference) -> Result<Secret, secrets::Error> {
        secrets::resolve(reference)
    }

    fn secret_digest(&self, reference: &SecretReference) -> Option<Digest> {
        Some(secrets::digest(&secrets::resolve(reference).ok()?))
    }
}
