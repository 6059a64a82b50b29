//! A live server: its definition, the configuration its process runs with, and its health.

use super::{Effective, Ownership};
use crate::resource::{Bytes, Fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of a server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It does not run and is not about to.
    Stopped,
    /// It is starting.
    Starting,
    /// Its process is alive.
    Running,
    /// It exited, and its runtime waits to restart it.
    BackingOff,
    /// It exited, and its runtime gave up.
    Failed,
}

/// A live server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct LiveRun {
    /// The ownership marker of its definition (unit file, launch record); `None` if unmanaged.
    pub definition: Option<Ownership>,
    /// True if the runtime has read the current definition; false calls for a reload.
    pub loaded: bool,
    /// True if it starts at boot, where the runtime supports that.
    pub enabled: bool,
    /// The state of its process.
    pub phase: RunState,
    /// The fingerprint in the environment of the live process.
    pub running: Option<Fingerprint>,
    /// The identity of this start: an invocation id, or PID and start time.
    #[serde(default)]
    pub identity: Option<String>,
    /// The number of automatic restarts.
    #[serde(default)]
    pub restarts: u32,
    /// The reason why it does not run, as the runtime reports it.
    #[serde(default)]
    pub why: Option<String>,
    /// Its host memory.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// The memory limit in force, as the runtime reports it.
    #[serde(default)]
    pub memory_limit: Option<Bytes>,
    /// True if the running process can pass its socket on to a successor.
    #[serde(default)]
    pub socket_handoff: bool,
    /// The reason why its socket does not listen, where it has a socket of its own that should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_down: Option<String>,
    /// True if it has released its GPU's memory and answers only after it is woken.
    #[serde(default)]
    pub asleep: bool,
    /// The runtime's own health report, where it reports the server as unhealthy.
    #[serde(default)]
    pub reported: Option<crate::resource::Health>,
    /// The result of its probe, if it was probed.
    #[serde(default)]
    pub health: Option<crate::resource::Health>,
    /// The settings in force.
    #[serde(default, skip_serializing_if = "Effective::is_empty")]
    pub effective: Effective,
}

impl LiveRun {
    /// Returns a server without a definition that does not run.
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
            socket_down: None,
            asleep: false,
            reported: None,
            health: None,
            effective: Effective { overrides: Vec::new(), values: BTreeMap::new() },
        }
    }

    /// Returns whether its process is alive or starting.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.phase, RunState::Running | RunState::Starting | RunState::BackingOff)
    }
}
