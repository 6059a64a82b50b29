//! What was seen on the machine at one moment: every resource absent, present or unknown.
//!
//! Values only. Who looks is `observe`, below the line; this is what it brings back, and what a test writes by hand.
//! Unknown is never treated as absent: a planner that cannot see a thing does not make it.

mod managed;
mod run;

pub use managed::Managed;
pub use run::{LiveRun, RunState};

use crate::resource::{Digest, Fingerprint, ResourceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What looking for one thing brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It is not there.
    Absent,
    /// It is there.
    Present(Live),
    /// It could not be seen, and why.
    Unknown(String),
}

/// A thing that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// The file of a secret; its value is not looked at.
    Secret,
    /// A Python environment.
    Environment {
        /// Whether it was made whole: an interrupted one is debris.
        complete: bool,
    },
    /// A model file.
    Artifact {
        /// Its size in bytes.
        size: u64,
        /// The digest that was computed of this very file, if it ever was.
        sha256: Option<Digest>,
        /// Whether llamero put it there.
        managed: bool,
    },
    /// A container image.
    Image {
        /// Whether llamero pulled it.
        managed: bool,
    },
    /// A rendered file.
    File(LiveFile),
    /// A model on a server that is asked for it.
    Model {
        /// The fingerprint on record, if llamero brought it.
        recorded: Option<Fingerprint>,
        /// Whether it is loaded to stay.
        loaded: bool,
        /// The content that it has, or is made from: the sha256 of a manifest, where that can be told.
        #[serde(default)]
        sha256: Option<Digest>,
        /// Whether llamero pulled what it is made from.
        #[serde(default)]
        managed: bool,
        /// Whether the content that is wanted is kept on the server under another name.
        #[serde(default)]
        kept: bool,
        /// Whether its server does not answer, and only its folder of models told of it.
        #[serde(default)]
        unserved: bool,
        /// Whether it is a model of llamero's own that another program has made anew since.
        #[serde(default)]
        edited: bool,
    },
    /// A server.
    Run(Box<LiveRun>),
}

/// A file that stands where one of ours belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile {
    /// What its marker says, if it has one.
    pub marker: Option<Ownership>,
    /// Its text after the marker, unless it holds secrets or is too large to show.
    pub text: Option<String>,
}

/// What a live thing says of itself: whose it is, and what it was asked for with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The stack that it belongs to.
    pub stack: String,
    /// The fingerprint of what was asked for.
    pub fingerprint: Fingerprint,
    /// Whether it is still as it was written.
    pub intact: bool,
}

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHolder {
    /// The process, when it can be seen.
    pub pid: Option<u32>,
    /// Its command, when it can be seen.
    pub command: String,
    /// The resource of this stack that the process belongs to, if it does.
    pub resource: Option<ResourceId>,
}

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observation {
    /// What was looked for, and what else was found that carries this stack's mark.
    pub resources: BTreeMap<ResourceId, Presence>,
    /// Who listens on the ports that the stack wants.
    #[serde(default)]
    pub ports: BTreeMap<u16, PortHolder>,
    /// The size in bytes of what would be downloaded, where its server told.
    #[serde(default)]
    pub download_sizes: BTreeMap<ResourceId, u64>,
    /// What the registry has now for models that would be pulled, where that is not what is wanted.
    #[serde(default)]
    pub moved: BTreeMap<ResourceId, Digest>,
}

impl Observation {
    /// Returns what was seen of `id`; what was never looked for is unknown.
    #[must_use]
    pub fn presence(&self, id: &ResourceId) -> Presence {
        self.resources.get(id).cloned().unwrap_or_else(|| Presence::Unknown("it was not looked for".to_owned()))
    }

    /// Returns the server `id`, if it is there.
    #[must_use]
    pub fn run(&self, id: &ResourceId) -> Option<&LiveRun> {
        match self.resources.get(id) {
            Some(Presence::Present(Live::Run(run))) => Some(run),
            _ => None,
        }
    }

    /// Returns the same without what changes by itself: restarts, process identities and health. Two observations are
    /// the same to a planner when these are equal.
    #[must_use]
    pub fn steady(mut self) -> Self {
        for presence in self.resources.values_mut() {
            if let Presence::Present(Live::Run(run)) = presence {
                run.identity = None;
                run.restarts = 0;
                run.health = None;
                run.memory = None;
            }
        }
        for holder in self.ports.values_mut() {
            holder.pid = None;
        }
        self
    }
}
