//! A server as it was found: its definition, what its live process says that it runs, and how it fares.

use super::Ownership;
use crate::resource::{Bytes, Fingerprint};
use serde::{Deserialize, Serialize};

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It does not run, and nobody tries.
    Stopped,
    /// It is about to run.
    Starting,
    /// Its process lives.
    Running,
    /// It died, and its runtime waits to start it again.
    BackingOff,
    /// It died, and its runtime gave up.
    Failed,
}

/// A server as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct LiveRun {
    /// What its definition (unit file, launch record) says of itself; `None` is a stranger's.
    pub definition: Option<Ownership>,
    /// Whether the runtime has read the definition as it now stands; false calls for a reload.
    pub loaded: bool,
    /// Whether it starts with the machine, where the runtime can do that.
    pub enabled: bool,
    /// What it is doing.
    pub phase: RunState,
    /// The fingerprint that the live process carries in its environment.
    pub running: Option<Fingerprint>,
    /// Names this very start of it: an invocation id, or pid and start time.
    #[serde(default)]
    pub identity: Option<String>,
    /// How often the runtime started it again by itself.
    #[serde(default)]
    pub restarts: u32,
    /// Why it does not run, in the runtime's words.
    #[serde(default)]
    pub why: Option<String>,
    /// Host memory that it takes.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// The memory limit that the runtime says is in force.
    #[serde(default)]
    pub memory_limit: Option<Bytes>,
    /// Whether it can hand its port on to a successor as it runs now.
    #[serde(default)]
    pub socket_handoff: bool,
    /// Whether successors that never took its place were left behind.
    #[serde(default)]
    pub orphaned_instances: bool,
    /// Whether it has given its GPU's memory back and answers nothing until it is woken.
    #[serde(default)]
    pub asleep: bool,
    /// What its runtime itself says of its health, where it says that it is not well.
    #[serde(default)]
    pub reported: Option<crate::resource::Health>,
    /// What it answered when it was asked, if it was.
    #[serde(default)]
    pub health: Option<crate::resource::Health>,
}

impl LiveRun {
    /// Returns a server that is defined by nobody and does not run.
    #[must_use]
    pub const fn stopped() -> Self {
        Self {
            definition: None,
            loaded: true,
            enabled: true,
            phase: RunState::Stopped,
            running: None,
            identity: None,
            restarts: 0,
            why: None,
            memory: None,
            memory_limit: None,
            socket_handoff: false,
            orphaned_instances: false,
            asleep: false,
            reported: None,
            health: None,
        }
    }

    /// Returns whether its process lives or is about to.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.phase, RunState::Running | RunState::Starting | RunState::BackingOff)
    }
}
