//! Programs that do something and end: their talk as it comes, their last words when they fail, and their whole process
//! group gone when they are stopped.

use super::Hint;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How many of its last lines are kept.
const LAST: usize = 30;

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be run.
    #[error("cannot run {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("`{program}` ended with {status}: {}", last.join("\n"))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        last: Vec<String>,
    },
    /// It took too long.
    #[error("`{program}` did not end within {} s", after.as_secs())]
    Deadline {
        /// The program.
        program: String,
        /// How long was waited.
        after: Duration,
    },
    /// Somebody stopped it.
    #[error("`{0}` was stopped")]
    Stopped(String),
}

impl Hint for Error {}

/// Runs a program to its end and returns its last lines.
pub async fn run(
    argv: &[String],
    environment: &[(&str, String)],
    deadline: Duration,
    note: &(dyn Fn(&str) + Sync),
    cancel: &CancellationToken,
) -> Result<Vec<String>, Error> {
    let (program, arguments) =
        argv.split_first().map_or((String::new(), &argv[..0]), |(first, rest)| (first.clone(), rest));
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(environment.iter().map(|(name, value)| (*name, value.as_str())));
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| Error::Start { program: program.clone(), source })?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let kill = || {
        if let Some(group) = group {
            // A group that ended in between needs no signal.
            let _ = kill_process_group(group, Signal::KILL);
        }
    };
    let last = std::sync::Mutex::new(VecDeque::new());
    let keep = |line: &str| {
        note(line);
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.push_back(line.to_owned());
        if last.len() > LAST {
            last.pop_front();
        }
    };
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let whole = async {
        let (status, (), ()) = tokio::join!(child.wait(), lines(output, &keep), lines(errors, &keep));
        status
    };
    let status = tokio::select! {
        status = tokio::time::timeout(deadline, whole) => match status {
            Ok(status) => status.map_err(|source| Error::Start { program: program.clone(), source })?,
            Err(_) => {
                kill();
                return Err(Error::Deadline { program, after: deadline });
            }
        },
        () = cancel.cancelled() => {
            kill();
            return Err(Error::Stopped(program));
        }
    };
    let last: Vec<String> = last.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into();
    if status.success() {
        return Ok(last);
    }
    Err(Error::Failed { program, status: status.to_string(), last })
}

async fn lines(stream: Option<impl AsyncRead + Unpin>, keep: &(impl Fn(&str) + Sync)) {
    let Some(stream) = stream else { return };
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        // A progress bar writes over its own line; its last state is what counts.
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default().trim_end();
        if !line.is_empty() {
            keep(line);
        }
    }
}
