//! The process runtime: servers kept by llamero's own supervisor, where there is no systemd user manager.
//!
//! Each server has a folder with three files: `launch` says what to run and is written by whoever starts it; `state`
//! says how it fares and is written by its supervisor; `log` is what it wrote. A process number is never trusted alone:
//! it counts only together with its start time and the boot.

mod record;
mod supervise;

pub use record::{Exit, Launch, Stage, State};
pub use supervise::supervise;

use super::proc::{self, Identity};
use super::{Hint, Retry, files};
use crate::resource::Fingerprint;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a supervisor may take until its server runs or has failed to.
const START: Duration = Duration::from_secs(10);

/// How often a state is looked at while waiting for it.
const EVERY: Duration = Duration::from_millis(20);

/// The most bytes of a log that are read from its end.
const TAIL: u64 = 64 << 10;

/// What went wrong with a process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record could not be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A record is not as it was written.
    #[error("the record {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such server.
    #[error("there is no process `{0}`")]
    Unknown(String),
    /// The program cannot be run.
    #[error("cannot run {program}: {why}")]
    Exec {
        /// The program.
        program: String,
        /// What the system said.
        why: String,
    },
    /// The supervisor cannot be run.
    #[error("cannot start the supervisor of `{name}`")]
    Supervisor {
        /// The server.
        name: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("`{name}` did not {what} within {} s", after.as_secs())]
    Deadline {
        /// The server.
        name: String,
        /// What it did not do.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// It runs, so its record must stay.
    #[error("`{0}` still runs")]
    Running(String),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Exec { .. } => Some("check `command` and `install` in the manifest".to_owned()),
            Self::Damaged { path, .. } => {
                Some(format!("see whether the server still runs, then remove {}", path.display()))
            }
            _ => None,
        }
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::Deadline { .. }) { Retry::Soon } else { Retry::Never }
    }
}

/// How a server fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// What it was started with.
    pub launch: Launch,
    /// What it is doing.
    pub stage: Stage,
    /// Its process, while it lives.
    pub process: Option<Identity>,
    /// Whether its supervisor lives.
    pub supervised: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended.
    pub exit: Option<Exit>,
    /// The fingerprint that its live process carries.
    pub running: Option<Fingerprint>,
}

/// The servers of one stack that have a record.
#[derive(Debug, Clone)]
pub struct Processes {
    folder: PathBuf,
    program: PathBuf,
}

impl Processes {
    /// Returns the servers whose records are in `folder`; `program` is llamero itself, which supervises them.
    #[must_use]
    pub const fn new(folder: PathBuf, program: PathBuf) -> Self {
        Self { folder, program }
    }

    /// Returns the names of all servers with a record.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let names = files::list(&self.folder)?.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| self.folder.join(name).join("launch").exists()).collect())
    }

    /// Returns the file with what a server wrote.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("log")
    }

    /// Looks at a server; `None` when it has no record.
    pub fn state(&self, name: &str) -> Result<Option<Process>, Error> {
        let folder = self.folder.join(name);
        let Some(launch) = record::read::<Launch>(&folder.join("launch"))? else { return Ok(None) };
        let state = record::read::<State>(&folder.join("state"))?.unwrap_or_default();
        let supervised = state.supervisor.as_ref().is_some_and(Identity::lives);
        let process = state.process.filter(Identity::lives);
        let stage = match (state.stage, process.is_some(), supervised) {
            // What the supervisor wrote last is the truth while it lives, or when it ended in order.
            (stage, _, true) => stage,
            (stage @ (Stage::Stopped | Stage::Exited | Stage::Failed), false, false) => stage,
            (_, true, false) => Stage::Running,
            (_, false, false) => Stage::Lost,
        };
        let running = process.as_ref().and_then(|process| proc::fingerprint(process.pid));
        let (restarts, exit) = (state.restarts, state.exit);
        Ok(Some(Process { launch, stage, process, supervised, restarts, exit, running }))
    }

    /// Starts a server with a supervisor of its own, which outlives this process, and waits until it runs or has failed
    /// to. One that runs already under the same name must have been stopped before.
    pub async fn start(&self, name: &str, launch: &Launch) -> Result<(), Error> {
        if let Some(process) = self.state(name)?
            && (process.process.is_some() || process.supervised)
        {
            return Err(Error::Running(name.to_owned()));
        }
        let folder = self.folder.join(name);
        files::remove(&folder.join("state"))?;
        record::write(&folder.join("launch"), launch)?;
        let failed = |source| Error::Supervisor { name: name.to_owned(), source };
        let mut supervisor = std::process::Command::new(&self.program)
            .arg("supervise")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(failed)?;
        let begun = Instant::now();
        loop {
            let ended = supervisor.try_wait().map_err(failed)?.is_some();
            let state = record::read::<State>(&folder.join("state"))?.unwrap_or_default();
            match state.stage {
                Stage::Starting if ended => return Err(failed(std::io::Error::other("it ended at once"))),
                Stage::Starting if begun.elapsed() < START => tokio::time::sleep(EVERY).await,
                Stage::Starting => return Err(Error::Deadline { name: name.to_owned(), what: "start", after: START }),
                Stage::Failed if state.exit.is_none() => {
                    let program = launch.argv.first().cloned().unwrap_or_default();
                    return Err(Error::Exec { program, why: state.why.unwrap_or_default() });
                }
                _ => return Ok(()),
            }
        }
    }

    /// Stops a server: its supervisor asks it, waits as long as its launch allows, then kills what is left of it.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<(), Error> {
        let Some(process) = self.state(name)? else { return Ok(()) };
        let allowed = process.launch.stop_timeout.duration();
        let state = record::read::<State>(&self.folder.join(name).join("state"))?.unwrap_or_default();
        if let Some(supervisor) = state.supervisor.filter(Identity::lives) {
            signal(&supervisor, Signal::TERM);
            if ended(&supervisor, allowed + grace).await {
                return Ok(());
            }
            signal(&supervisor, Signal::KILL);
        }
        let Some(main) = process.process.filter(Identity::lives) else { return Ok(()) };
        // Nobody supervises it any more: it and all that it started are asked, then killed.
        let family: Vec<Identity> =
            proc::descendants(main.pid).into_iter().filter_map(Identity::of).chain([main]).collect();
        for (wish, patience) in [(Signal::TERM, allowed), (Signal::KILL, grace)] {
            for member in &family {
                signal(member, wish);
            }
            let begun = Instant::now();
            while begun.elapsed() < patience && family.iter().any(Identity::lives) {
                tokio::time::sleep(EVERY).await;
            }
        }
        if family.iter().any(Identity::lives) {
            return Err(Error::Deadline { name: name.to_owned(), what: "stop", after: allowed + grace });
        }
        let stopped = State { stage: Stage::Stopped, ..State::default() };
        record::write(&self.folder.join(name).join("state"), &stopped)
    }

    /// Removes the record of a server that does not run.
    pub fn forget(&self, name: &str) -> Result<(), Error> {
        if self.state(name)?.is_some_and(|process| process.process.is_some() || process.supervised) {
            return Err(Error::Running(name.to_owned()));
        }
        files::remove_folder(&self.folder.join(name))?;
        files::remove_empty_folder(&self.folder);
        Ok(())
    }

    /// Returns the last lines that a server wrote since it was last started.
    #[must_use]
    pub fn last_lines(&self, name: &str, count: usize) -> Vec<String> {
        let Some(mut file) = files::open_existing(&self.log(name)) else { return Vec::new() };
        let size = file.seek(SeekFrom::End(0)).unwrap_or_default();
        let mut bytes = Vec::new();
        let from = size.saturating_sub(TAIL);
        if file.seek(SeekFrom::Start(from)).is_err() || file.take(TAIL).read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.iter().rposition(|line| line.starts_with(supervise::START_LINE));
        let lines = &lines[start.map_or(0, |line| line + 1)..];
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// Sends a signal to a process if it is still the same one.
fn signal(identity: &Identity, signal: Signal) {
    let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| identity.lives()) {
        // A process that ended in between needs no signal.
        let _ = kill_process(pid, signal);
    }
}

async fn ended(identity: &Identity, within: Duration) -> bool {
    let begun = Instant::now();
    while identity.lives() {
        if begun.elapsed() >= within {
            return false;
        }
        tokio::time::sleep(EVERY).await;
    }
    true
}

/// Returns the folder of the record that a supervisor was called with.
#[must_use]
pub fn record_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
