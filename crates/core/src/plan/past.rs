//! The records of earlier generations, as far as a plan needs them.

use super::step::Arguments;
use crate::live::LiveRun;
use crate::resolve::PreviousRoutes;
use crate::resource::{Digest, Fields, GpuClaim, Gpus, Resource, ResourceId, Seconds};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Facts known from earlier generations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Past {
    /// The fields of every resource of the committed generation.
    pub committed: BTreeMap<ResourceId, Fields>,
    /// The dependencies of each resource of earlier generations: the order in which undeclared servers stop.
    pub needs: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    /// The ports of servers of earlier generations.
    pub ports: BTreeMap<ResourceId, Vec<u16>>,
    /// The host memory limits of servers of earlier generations, in bytes.
    pub memory: BTreeMap<ResourceId, u64>,
    /// The GPUs of servers of earlier generations.
    #[serde(default)]
    pub gpus: BTreeMap<ResourceId, Gpus>,
    /// The claims of servers of earlier generations on the memory of their GPUs.
    #[serde(default)]
    pub gpu_claims: BTreeMap<ResourceId, GpuClaim>,
    /// The servers of earlier generations that can sleep.
    #[serde(default)]
    pub sleep: BTreeSet<ResourceId>,
    /// The last measured time from start to healthy of each server.
    pub start_times: BTreeMap<ResourceId, Seconds>,
    /// Artifacts, environments and models that are retained for a rollback.
    pub keep: BTreeSet<ResourceId>,
    /// The retained resources that expire with the next generation.
    #[serde(default)]
    pub oldest: BTreeSet<ResourceId>,
    /// The content of each model of the committed generation.
    #[serde(default)]
    pub contents: BTreeMap<ResourceId, Digest>,
    /// The routes of the committed generation.
    #[serde(default)]
    pub previous: PreviousRoutes,
    /// True if what counts as committed is only a canary on trial.
    #[serde(default)]
    pub trial: bool,
    /// True if the plan leads back after a failure: it starts what crashes anew instead of leaving that to its manager.
    #[serde(default)]
    pub back: bool,
    /// The arguments of calls on resources of earlier generations.
    #[serde(default)]
    pub arguments: BTreeMap<ResourceId, Arguments>,
}

impl Past {
    /// Returns the host memory that a server that is up may take: what is in force, and what it was allowed.
    pub(super) fn memory_taken(&self, id: &ResourceId, live: &LiveRun) -> u64 {
        let in_force = live.memory_limit.map_or(0, |limit| limit.0);
        self.memory.get(id).copied().unwrap_or_default().max(in_force)
    }

    /// Adds the facts of earlier generations.
    pub fn learn<'a>(&mut self, resources: impl IntoIterator<Item = &'a Resource>) {
        for resource in resources {
            self.needs.insert(resource.id.clone(), resource.needs.clone());
            self.arguments.insert(resource.id.clone(), Arguments::of(resource));
            if let Some(run) = resource.run() {
                self.ports.insert(resource.id.clone(), run.ports.clone());
                self.memory.insert(resource.id.clone(), run.memory.map_or(0, |memory| memory.0));
                self.gpus.insert(resource.id.clone(), run.gpus.clone());
                match run.gpu_claim {
                    Some(claim) => drop(self.gpu_claims.insert(resource.id.clone(), claim)),
                    None => drop(self.gpu_claims.remove(&resource.id)),
                }
                if run.sleep.is_some() {
                    self.sleep.insert(resource.id.clone());
                } else {
                    self.sleep.remove(&resource.id);
                }
            }
        }
    }
}
