//! llamero itself as a detached process, which outlives its parent, the terminal and the process group.
//!
//! This module starts it, identifies it and ends it; the work it does is defined elsewhere.

use super::proc::Identity;
use super::process::inherited;
use super::{Hint, files};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// The longest wait for the process to report that it is detached.
const START: Duration = Duration::from_secs(10);

/// The longest wait for the process to end after SIGTERM, and the polling interval.
const END: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// The line it prints once it has left its parent's session.
const READY: &str = "ready";

/// A failure to start it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its log cannot be opened.
    #[error(transparent)]
    Log(#[from] files::Error),
    /// It cannot be started.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The message of the operating system.
        source: io::Error,
    },
    /// It ended, or printed nothing in time.
    #[error("{} did not report within {} s that it is running; see {}", program.display(), START.as_secs(), log.display())]
    Silent {
        /// The program.
        program: PathBuf,
        /// Its log.
        log: PathBuf,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Log(error) => error.hint(),
            Self::Start { .. } | Self::Silent { .. } => None,
        }
    }
}

/// Starts `program` with the full environment of this process. Returns its identity once it is detached by `setsid`;
/// its later output goes to `log`.
pub async fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Identity, Error> {
    files::create_folder(log.parent().unwrap_or(Path::new("/")))?;
    let errors = OpenOptions::new().append(true).create(true).mode(files::PRIVATE).open(log);
    let errors = errors.map_err(|source| files::Error::io("open", log, source))?;
    let silent = || Error::Silent { program: program.to_owned(), log: log.to_owned() };
    // Not a process group of its own: the leader of one cannot make the new session that it needs.
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|source| Error::Start { program: program.to_owned(), source })?;
    let identity = child.id().and_then(Identity::of);
    let output = child.stdout.take().map(|output| BufReader::new(output).lines());
    let ready = async {
        let line = match output {
            Some(mut lines) => lines.next_line().await.ok().flatten(),
            None => None,
        };
        line.is_some_and(|line| line == READY)
    };
    match (timeout(START, ready).await, identity) {
        (Ok(true), Some(identity)) => Ok(identity),
        _ => {
            // It may be gone already.
            let _ = child.start_kill();
            Err(silent())
        }
    }
}

/// The variables that lead to the user manager and to the container engine.
const ENGINES: [&str; 4] = ["DBUS_SESSION_BUS_ADDRESS", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"];

/// Returns the environment variables that llamero needs elsewhere, as `NAME=value`: the user's identity and folders,
/// and the addresses of the user manager and the container engine.
#[must_use]
pub fn environment() -> Vec<String> {
    let engines = ENGINES.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let pairs = inherited()
        .chain(engines)
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    pairs.filter(|(_, value)| !value.contains('\n')).map(|(name, value)| format!("{name}={value}")).collect()
}

/// Makes this process the leader of a session of its own.
pub fn leave_session() {
    // It fails for a process that is already a leader, as from a shell with job control; then there is no session to
    // leave.
    let _ = rustix::process::setsid();
}

/// Reports to the parent that this process is detached.
pub fn report_ready() {
    let mut output = io::stdout();
    // The parent may be gone; then this process is needed all the more.
    let _ = output.write_all(format!("{READY}\n").as_bytes()).and_then(|()| output.flush());
}

/// Ends a detached process; returns whether it ended on SIGTERM.
pub async fn end(process: Identity) -> bool {
    if !process.signal(Signal::TERM) {
        return true;
    }
    let begun = Instant::now();
    while process.alive() {
        if begun.elapsed() > END {
            let _ = process.signal(Signal::KILL);
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Error, end, start};
    use std::path::Path;

    fn words(script: &str) -> Vec<String> {
        ["-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_process_runs_once_it_reports_ready_and_ends_on_a_signal() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a/log");
        let script = words("echo to the log >&2; echo ready; exec sleep 60");
        let process = start(Path::new("/bin/sh"), &script, &log).await.expect("it runs");
        assert!(process.alive());
        assert!(end(process).await && !process.alive());
        assert!(end(process).await, "a process that has ended needs no signal");
        assert_eq!(std::fs::read_to_string(&log).expect("a log"), "to the log\n");
    }

    #[tokio::test]
    async fn a_process_that_ends_without_reporting_ready_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let silent = start(Path::new("/bin/sh"), &words("echo other; exit 0"), &log).await;
        assert!(matches!(silent, Err(Error::Silent { .. })));
        let missing = start(Path::new("/no/such/program"), &[], &log).await;
        assert!(matches!(missing, Err(Error::Start { .. })));
    }
}
