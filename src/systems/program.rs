//! Programs that run to completion: streamed lines, a deadline, and no process left behind.
//!
//! The caller defines the command and interprets its output. Servers are started elsewhere.

use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{io, mem};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const KEPT_LINES: usize = 30;
const LONGEST_LINE: u64 = 4096;
/// The longest wait for a program to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// The time for which output is read after the program's end: a background child may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// The last lines that it wrote, to either stream.
    pub lines: Vec<String>,
}

/// A failure to run a program to completion.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It exceeded its deadline and was killed.
    #[error("`{program}` did not end within {} s", deadline.as_secs_f32())]
    Deadline {
        /// The program.
        program: String,
        /// The deadline.
        deadline: Duration,
        /// The last lines that it wrote.
        lines: Vec<String>,
    },
    /// The operation was cancelled and the program killed.
    #[error("interrupted")]
    Cancelled,
}

/// Returns the executable that a name resolves to on the PATH, or that a path names; `None` when it cannot be run.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(is_program);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(is_program)
}

/// Runs `argv` to completion in a process group of its own, which is killed at the deadline or on cancellation.
/// `environment` sets variables, or removes those without a value. Every line is passed to `on_line` as it arrives.
pub async fn run<S: AsRef<OsStr> + Sync>(
    argv: &[S],
    environment: &[(&str, Option<&str>)],
    on_line: &(dyn Fn(&str) + Send + Sync),
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<Ended, Error> {
    let program = argv.first().map(|word| word.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |source| Error::Start { program: program.clone(), source };
    let (mut running, pipe) = start(argv, environment).map_err(failed)?;
    let lines = Mutex::new(VecDeque::new());
    let mut listening = pin!(listen(pipe, |line| {
        on_line(&line);
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }));
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        () = sleep(deadline) => Err(Error::Deadline { program: program.clone(), deadline, lines: vec![] }),
        status = async {
            tokio::select! {
                status = running.0.wait() => {
                    let _ = timeout(LAST_WORDS, &mut listening).await;
                    status
                }
                () = &mut listening => running.0.wait().await,
            }
        } => status.map_err(failed),
    };
    if ended.is_err() {
        running.stop().await;
    }
    let output = mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner)).into();
    match ended {
        Ok(status) => Ok(Ended { status, lines: output }),
        Err(Error::Deadline { program, deadline, .. }) => Err(Error::Deadline { program, deadline, lines: output }),
        Err(error) => Err(error),
    }
}

/// A child that is killed, with all its descendants, when its owner is dropped.
struct Running(Child);

impl Running {
    /// The process group, until the child was reaped: then the PID may be reused.
    fn group(&self) -> Option<Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    async fn stop(&mut self) {
        let Some(group) = self.group() else { return };
        // A failure means that no process is left, as intended.
        let _ = kill_process_group(group, Signal::TERM);
        let _ = timeout(GRACE, self.0.wait()).await;
        let _ = kill_process_group(group, Signal::KILL);
        let _ = timeout(GRACE, self.0.wait()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Starts the program with both streams in one pipe, which keeps the order of its lines.
fn start<S: AsRef<OsStr>>(argv: &[S], environment: &[(&str, Option<&str>)]) -> io::Result<(Running, Receiver)> {
    let program = argv.first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(&argv[1..]).process_group(0).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let running = Running(command.spawn()?);
    Ok((running, Receiver::from_owned_fd(reader.into())?))
}

async fn listen(pipe: Receiver, mut on_line: impl FnMut(String)) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while let Ok(1..) = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes).await {
        let text = String::from_utf8_lossy(&bytes);
        // A line that is redrawn counts in its last state.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if !text.is_empty() {
            on_line(text.to_owned());
        }
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, run};
    use crate::systems::proc;
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn lines_arrive_in_order_and_the_status_is_kept() {
        let script = ["sh", "-c", "echo one; echo two >&2; printf '10%%\\r20%%\\n'; exit 3"];
        let ended =
            run(&script, &[], &|_| {}, Duration::from_secs(300), &CancellationToken::new()).await.expect("it ends");
        assert_eq!((ended.lines, ended.status.code()), (["one", "two", "20%"].map(str::to_owned).to_vec(), Some(3)));
    }

    #[tokio::test]
    async fn a_late_program_is_killed_with_all_its_descendants() {
        let folder = tempfile::tempdir().expect("a folder");
        let alive = folder.path().join("alive");
        let script = format!("trap '' TERM; (trap '' TERM; sleep 60; touch {}) & echo $!; wait", alive.display());
        // On a slow machine it may be killed before its first line.
        let mut child = None;
        for deadline in [200, 2_000, 20_000, 200_000].map(Duration::from_millis) {
            let late = run(&["sh", "-c", &script], &[], &|_| {}, deadline, &CancellationToken::new()).await;
            let Err(Error::Deadline { lines, .. }) = late else { panic!("{late:?}") };
            child = lines.first().map(|line| line.parse::<u32>().expect("a pid"));
            if child.is_some() {
                break;
            }
        }
        let child = child.expect("it starts");
        while !proc::status(child).is_none_or(|status| status.zombie) {
            tokio::task::yield_now().await;
        }
        assert!(!alive.exists());
    }

    #[tokio::test]
    async fn cancellation_ends_it_at_once() {
        let cancel = CancellationToken::new();
        let stop = |line: &str| {
            if line == "started" {
                cancel.cancel();
            }
        };
        let script = ["sh", "-c", "echo started; sleep 600"];
        let ended = run(&script, &[], &stop, Duration::from_secs(300), &cancel).await;
        assert!(matches!(ended, Err(Error::Cancelled)));
    }

    #[tokio::test]
    async fn a_background_child_that_holds_the_pipe_does_not_hold_the_caller() {
        // Were the caller held, it would reach its deadline.
        let (script, cancel) = (["sh", "-c", "sleep 600 & exit 0"], CancellationToken::new());
        let ended = run(&script, &[], &|_| {}, Duration::from_secs(300), &cancel).await.expect("it ends");
        assert!(ended.status.success());
    }
}
