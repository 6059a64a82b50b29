//! An observation: every resource as absent, present or unknown at one moment.
//!
//! Values only. `observe` produces observations, and tests write them by hand. Unknown is never treated as absent:
//! the planner does not create a resource that it cannot see.

mod effective;
mod instances;
mod managed;
mod run;

pub use effective::{Effective, Override};
pub use instances::{InstanceState, Instances};
pub use managed::Managed;
pub use run::{LiveRun, RunState};

use crate::resource::{Digest, Fingerprint, Health, Kind, Prerequisite, ResourceId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The result of inspecting one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Live),
    /// It could not be inspected, for this reason.
    Unknown(String),
}

/// A resource that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// The file of a secret; its value is not read.
    Secret,
    /// A Python environment.
    Environment {
        /// True if it is complete: an interrupted one is unusable.
        complete: bool,
    },
    /// A model file.
    Artifact {
        /// Its size in bytes.
        size: u64,
        /// The digest computed of the file as it is now, if there is one.
        sha256: Option<Digest>,
        /// True if llamero created it.
        managed: bool,
    },
    /// A container image.
    Image {
        /// True if llamero pulled it.
        managed: bool,
    },
    /// A rendered file.
    File(LiveFile),
    /// A model on a server.
    Model {
        /// The recorded fingerprint, if llamero manages it.
        recorded: Option<Fingerprint>,
        /// True if it is loaded for good.
        loaded: bool,
        /// Its content, or the content it is made from: the sha256 of a manifest, where it is known.
        #[serde(default)]
        sha256: Option<Digest>,
        /// True if llamero pulled its base model.
        #[serde(default)]
        managed: bool,
        /// True if the desired content is present on the server under another name.
        #[serde(default)]
        kept: bool,
        /// True if its server does not answer, and only its model folder was read.
        #[serde(default)]
        unserved: bool,
        /// True if it is llamero's own model, but another program has recreated it since.
        #[serde(default)]
        edited: bool,
        /// Its settings in force, where they were read back, by the names of the fields that declare them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        effective: BTreeMap<String, String>,
    },
    /// A server.
    Run(Box<LiveRun>),
}

/// A file at the path of a managed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile {
    /// The content of its marker, if it has one.
    pub marker: Option<Ownership>,
    /// Its text after the marker, unless it holds secrets or is too large to show.
    pub text: Option<String>,
}

/// The ownership marker of a live resource: its stack and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The stack that it belongs to.
    pub stack: String,
    /// The fingerprint of the resource.
    pub fingerprint: Fingerprint,
    /// True if it is unmodified.
    pub intact: bool,
}

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
    pub uv: Option<std::path::PathBuf>,
}

impl Observation {
    /// Returns the presence of `id`; an uninspected resource is unknown.
    #[must_use]
    pub fn presence(&self, id: &ResourceId) -> Presence {
        self.resources.get(id).cloned().unwrap_or_else(|| Presence::Unknown("it was not inspected".to_owned()))
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
    /// servers report of themselves. A
    /// planner treats two observations as the same when these are equal.
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
