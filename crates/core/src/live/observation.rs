//! The observed state of a whole stack.

use super::{Instances, Live, LiveRun, Part, Presence, Remnant, Unseen};
use crate::resource::{Digest, Health, Kind, Prerequisite, ResourceId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHolder {
    /// The PID, where it is visible.
    pub pid: Option<u32>,
    /// Its command, where it is visible.
    pub command: String,
    /// The resource of this stack that the process belongs to, if any.
    pub resource: Option<ResourceId>,
}

/// The observed state of a stack's resources.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observation {
    /// The resources inspected, and others found with this stack's ownership marker.
    pub resources: BTreeMap<ResourceId, Presence>,
    /// The parts beside single resources that could not be inspected.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unseen: BTreeSet<(Part, Unseen)>,
    /// The holders of the ports that the stack needs.
    #[serde(default)]
    pub ports: BTreeMap<u16, PortHolder>,
    /// The size in bytes of pending downloads, where the server reports it.
    #[serde(default)]
    pub download_sizes: BTreeMap<ResourceId, u64>,
    /// The registry's current content for models to be pulled, where it differs from the desired content.
    #[serde(default)]
    pub moved: BTreeMap<ResourceId, Digest>,
    /// The prerequisites of declared servers that are there.
    #[serde(default)]
    pub prerequisites: BTreeSet<Prerequisite>,
    /// The networks that carry this stack's ownership marker, and the kind of the servers that are in them.
    #[serde(default)]
    pub networks: BTreeMap<String, Kind>,
    /// The health of the parts that others run, by their places in the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub externals: BTreeMap<String, Health>,
    /// The kinds of servers that all end when the user logs out, where that is known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub end_at_logout: BTreeSet<Kind>,
    /// The instances of servers that hand their socket off, or are to.
    #[serde(default)]
    pub instances: BTreeMap<ResourceId, Instances>,
    /// The path of uv, where it is there and environments are declared.
    #[serde(default)]
    pub uv: Option<PathBuf>,
    /// What the stack has on disk beside its resources, where it is taken down.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub remnants: BTreeSet<Remnant>,
}

impl Observation {
    /// Returns the presence of `id`; an uninspected resource is unknown.
    #[must_use]
    pub fn presence(&self, id: &ResourceId) -> Presence {
        self.resources.get(id).cloned().unwrap_or_else(|| Presence::Unknown(Unseen::not_inspected()))
    }

    /// Returns the server `id`, if it exists.
    #[must_use]
    pub fn run(&self, id: &ResourceId) -> Option<&LiveRun> {
        match self.resources.get(id) {
            Some(Presence::Present(Live::Run(run))) => Some(run),
            _ => None,
        }
    }

    /// Returns the observation without values that change by themselves: restarts, process identities, health and what
    /// servers report of themselves. A planner treats two observations as the same when these are equal.
    #[must_use]
    pub fn steady(mut self) -> Self {
        for presence in self.resources.values_mut() {
            if let Presence::Present(Live::Run(run)) = presence {
                run.identity = None;
                run.restarts = 0;
                run.health = None;
                run.memory = None;
                run.effective.values.clear();
            }
        }
        self.externals.clear();
        for holder in self.ports.values_mut() {
            holder.pid = None;
        }
        self
    }
}
