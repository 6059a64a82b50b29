//! The records in a server's folder: its launch, and the last action of its supervisor.

use crate::resource::{Restart, Seconds};
use crate::systems::proc::{self, Identity};
use crate::systems::sealed;
use llamero_core::targets::process::lower::Launch;
use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

pub(super) const LAUNCH: &str = "launch.json";
pub(super) const STATE: &str = "state.json";

/// The default time for a server to stop.
const STOP: Seconds = Seconds::new(30);

/// Reads the launch record of a server.
pub(super) fn read_launch(folder: &Path) -> Result<Option<Launch>, sealed::Error> {
    sealed::read(&folder.join(LAUNCH))
}

/// Writes the launch record of a server.
pub(super) fn write_launch(launch: &Launch, folder: &Path) -> Result<(), sealed::Error> {
    sealed::write(&folder.join(LAUNCH), launch)
}

/// Returns what a running process must have been started with, as far as the marks of `marked` and its command line
/// identify. Its environment is left out: a part of that may be secret.
pub(super) fn launch_of(marked: Identity, process: Identity) -> Option<Launch> {
    let mark = proc::variable(marked.pid, proc::RESOURCE)?;
    let (stack, resource) = mark.split_once('/')?;
    Some(Launch {
        stack: stack.to_owned(),
        resource: resource.parse().ok()?,
        fingerprint: proc::fingerprint_of(marked.pid)?,
        argv: proc::argv(process.pid)?,
        environment: BTreeMap::new(),
        environment_file: None,
        working_directory: None,
        stop_timeout: STOP,
        restart: Restart::default(),
    })
}

/// Says what keeps it from being started, as far as that is known beforehand: an `exec` that fails does not
/// distinguish a missing program from a missing folder.
pub(super) fn check_launch(launch: &Launch) -> Result<(), String> {
    match launch.argv.first() {
        None => return Err("its command is empty".to_owned()),
        Some(program) if !program.starts_with('/') => return Err(format!("`{program}` is not an absolute path")),
        Some(_) => {}
    }
    match &launch.working_directory {
        Some(folder) if !folder.is_dir() => Err(format!("{} is not a folder", folder.display())),
        _ => Ok(()),
    }
}

/// The state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its supervisor is about to run it.
    Starting,
    /// It runs.
    Running,
    /// It has failed and will be started again.
    BackingOff,
    /// It was asked to stop, or never started.
    #[default]
    Stopped,
    /// It exited with success.
    Exited,
    /// It has failed, and is not started again.
    Failed,
}

impl Phase {
    /// Returns whether nothing more happens without being asked for.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Failed)
    }
}

/// The end of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

impl Exit {
    pub(super) fn from_status(status: WaitStatus) -> Self {
        Self { code: status.exit_status(), signal: status.terminating_signal() }
    }

    /// Returns whether it exited with success.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown end"),
        }
    }
}

/// The last action of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The boot in which the processes live.
    pub(super) boot: String,
    /// The supervisor, in that boot.
    pub(super) supervisor: Identity,
    /// The server's process, in that boot.
    pub(super) child: Option<Identity>,
    pub(super) phase: Phase,
    pub(super) exit: Option<Exit>,
    pub(super) restarts: u32,
    pub(super) problem: Option<String>,
}

impl Record {
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, sealed::Error> {
        sealed::read(&folder.join(STATE))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), sealed::Error> {
        sealed::write(&folder.join(STATE), self)
    }

    /// Returns the supervisor, if it lives.
    pub(super) fn supervisor(&self) -> Option<Identity> {
        self.in_this_boot(self.supervisor)
    }

    /// Returns the server's process, if it lives.
    pub(super) fn child(&self) -> Option<Identity> {
        self.in_this_boot(self.child?)
    }

    fn in_this_boot(&self, process: Identity) -> Option<Identity> {
        (proc::boot().as_ref() == Some(&self.boot) && process.alive()).then_some(process)
    }

    /// Returns what the recorded phase means when neither supervisor nor server lives any more: whoever was running
    /// in an earlier boot was stopped with the machine, and in this boot it was killed.
    pub(super) fn phase_without_supervisor(&self) -> Phase {
        match self.phase {
            phase if phase.is_final() => phase,
            _ if proc::boot().as_ref() == Some(&self.boot) => Phase::Failed,
            _ => Phase::Stopped,
        }
    }
}
