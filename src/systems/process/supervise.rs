//! The supervisor: a small process of its own for each server. It starts the server, starts it again when it ends badly,
//! and stops it with all that it started.
//!
//! The rules are those of the units that the systemd runtime writes: a restart after two seconds, at most five starts in
//! a minute, SIGTERM and then SIGKILL.

use super::super::files;
use super::super::proc::{self, FINGERPRINT, Identity, RESOURCE};
use super::Error;
use super::record::{self, Exit, Launch, Stage, State};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The wait before a server that ended badly is started again.
const PAUSE: Duration = Duration::from_secs(2);

/// At most this many starts within [`WINDOW`].
const STARTS: usize = 5;

/// The time over which starts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// A log above this size, in bytes, is put aside as `log.1` at the next start.
const LOG_LIMIT: u64 = 10 << 20;

/// The beginning of the line that is written to the log before each start.
pub(super) const START_LINE: &str = "--- llamero: started";

/// The largest environment file, in bytes.
const ENVIRONMENT_LIMIT: u64 = 1 << 20;

/// Variables of llamero's own environment that a server gets: where it is and in which language, never what a user
/// exported for other purposes.
const INHERITED: [&str; 22] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "CUDA_HOME",
    "LD_LIBRARY_PATH",
];

/// Supervises the server whose records are in `folder` until it is stopped, ends or fails; returns the exit code.
pub async fn supervise(folder: &Path) -> i32 {
    // Away from the terminal and the process group of whoever started this.
    let _ = rustix::process::setsid();
    // Whatever the server leaves behind becomes a child of this process, so that it can be ended too.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    match run(folder).await {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

async fn run(folder: &Path) -> Result<(), Error> {
    let Some(launch) = record::read::<Launch>(&folder.join("launch"))? else {
        return Err(Error::Unknown(super::record_name(folder)));
    };
    let fault = |source| Error::Supervisor { name: super::record_name(folder), source };
    let mut stop = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(fault)?;
    let mut state = State { supervisor: Identity::of(std::process::id()), ..State::default() };
    let keep = |state: &State| record::write(&folder.join("state"), state);
    let mut starts: VecDeque<Instant> = VecDeque::new();
    loop {
        starts.push_back(Instant::now());
        let mut child = match start(folder, &launch) {
            Ok(child) => child,
            Err(why) => {
                state = State { stage: Stage::Failed, process: None, why: Some(why), exit: None, ..state };
                return keep(&state);
            }
        };
        state.process = child.id().and_then(Identity::of);
        state.stage = Stage::Running;
        keep(&state)?;
        let ended = loop {
            tokio::select! {
                status = child.wait() => break status.ok(),
                _ = hang_up.recv() => {}
                _ = stop.recv() => break None,
                _ = interrupt.recv() => break None,
            }
        };
        let Some(status) = ended else {
            let status = end(&mut child, &launch).await;
            state = State { stage: Stage::Stopped, process: None, exit: status.map(exit), ..state };
            return keep(&state);
        };
        sweep();
        state.process = None;
        state.exit = Some(exit(status));
        if status.success() {
            state.stage = Stage::Exited;
            return keep(&state);
        }
        starts.retain(|start| start.elapsed() < WINDOW);
        if starts.len() >= STARTS {
            state.stage = Stage::Failed;
            return keep(&state);
        }
        state.stage = Stage::BackingOff;
        keep(&state)?;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => state.restarts += 1,
            _ = stop.recv() => {
                state.stage = Stage::Stopped;
                return keep(&state);
            }
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: status.signal() }
}

fn start(folder: &Path, launch: &Launch) -> Result<Child, String> {
    let log = folder.join("log");
    if std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        std::fs::rename(&log, folder.join("log.1")).map_err(|error| error.to_string())?;
    }
    let open = || OpenOptions::new().create(true).append(true).mode(files::PRIVATE).open(&log);
    // What comes before this line is of an earlier start.
    let begin = format!("{START_LINE} {}\n", super::super::clock::now());
    open().and_then(|mut log| log.write_all(begin.as_bytes())).map_err(|error| error.to_string())?;
    let (output, errors) = open().and_then(|output| Ok((output, open()?))).map_err(|error| error.to_string())?;
    let (program, arguments) = launch.argv.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(launch)?);
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    if let Some(folder) = &launch.working_directory {
        command.current_dir(folder);
    }
    command.spawn().map_err(|error| error.to_string())
}

fn environment(launch: &Launch) -> Result<BTreeMap<String, String>, String> {
    let mut environment: BTreeMap<String, String> =
        INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    environment.extend(launch.environment.clone());
    if let Some(path) = &launch.environment_file {
        let text = files::read(path, ENVIRONMENT_LIMIT).map_err(|error| error.to_string())?;
        let text = text.ok_or_else(|| format!("{} does not exist", path.display()))?;
        environment.extend(text.lines().filter_map(assignment));
    }
    let resource = format!("{}/{}", launch.stack, launch.resource);
    environment.extend([(FINGERPRINT.to_owned(), launch.fingerprint.to_string()), (RESOURCE.to_owned(), resource)]);
    Ok(environment)
}

/// Reads a line `NAME="value"` as it is rendered for `EnvironmentFile=` (systemd.exec(5)).
fn assignment(line: &str) -> Option<(String, String)> {
    let (name, quoted) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    let quoted = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        value.push(if character == '\\' { characters.next()? } else { character });
    }
    Some((name.to_owned(), value))
}

/// Asks the server's process group to end, waits as long as it may take, and kills what is left.
async fn end(child: &mut Child, launch: &Launch) -> Option<ExitStatus> {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
    }
    let status = match tokio::time::timeout(launch.stop_timeout.duration(), child.wait()).await {
        Ok(status) => status.ok(),
        Err(_) => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait().await.ok()
        }
    };
    sweep();
    status
}

/// Kills everything that the server started and left behind.
fn sweep() {
    for _ in 0..100 {
        let left = proc::descendants(std::process::id());
        let alive: Vec<Pid> = left
            .into_iter()
            .filter(|pid| Identity::of(*pid).is_some())
            .filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::from_raw))
            .collect();
        if alive.is_empty() {
            return;
        }
        for pid in alive {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn an_environment_file_is_read_as_it_is_rendered() {
        let read = assignment(r#"KEY="a \"b\" \\ \$c = d""#);
        assert_eq!(read, Some(("KEY".to_owned(), r#"a "b" \ $c = d"#.to_owned())));
        assert_eq!(assignment("# KEY=\"x\""), None);
    }
}
