//! The supervisor of one server: runs it, starts it again whenever it fails, and stops it with all that it started.
//!
//! It takes no orders but signals, and what it did is in `state.json`. It dies with nothing but itself: whoever kills
//! it leaves the server running.

use super::Launch;
use super::environment;
use super::log;
use super::processes::KILL;
use super::record::{self, Exit, Phase, Record};
use crate::resource::Restart;
use crate::systems::proc::{self, Identity};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, setsid, wait};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{Instant, sleep};

/// The first and the longest wait before a server is started again, as in the units that llamero writes for systemd.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The time after which a server that ran has shown that it can: the pauses begin anew.
const STEADY: Duration = Duration::from_secs(60);

/// Returns the wait after a server that ran for a time, and waited for another before.
fn pause_after(ran: Duration, before: Option<Duration>) -> Duration {
    match before.filter(|_| ran < STEADY) {
        None => FIRST_PAUSE,
        Some(before) => (before * 2).min(LONGEST_PAUSE),
    }
}

/// Runs the server that is kept in `folder` until it is stopped, exits with success or cannot be executed, and returns
/// the exit code. This is the whole life of a process: it makes itself a session leader and the parent of all orphans
/// below it.
pub async fn supervise(folder: &Path) -> i32 {
    match Supervisor::new(folder) {
        Ok((mut supervisor, _lock)) => supervisor.run().await,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "llamero: {problem}");
            1
        }
    }
}

struct Supervisor {
    folder: PathBuf,
    launch: Launch,
    record: Record,
    /// The end of the server, once it was waited for.
    ended: Option<Exit>,
    stopping: bool,
    children: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// Never looked at: a signal with a listener does not end us, and is back to normal in the server.
    _hangup: unix::Signal,
}

impl Supervisor {
    fn new(folder: &Path) -> Result<(Self, File), String> {
        // It fails for a process that is the leader, as from a shell with job control; then there is nothing to leave.
        let _ = setsid();
        set_child_subreaper(Some(getpid())).map_err(|error| format!("cannot become a subreaper: {error}"))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        lock.try_lock().map_err(|_| format!("{} has a supervisor already", folder.display()))?;
        let launch = record::read_launch(folder).map_err(|error| error.to_string())?;
        let launch = launch.ok_or_else(|| format!("there is nothing to run in {}", folder.display()))?;
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
        let supervisor = Identity::of(std::process::id()).ok_or("cannot find itself in /proc")?;
        let boot = proc::boot().ok_or("the boot has no identifier")?;
        let supervisor = Self {
            folder: folder.to_owned(),
            launch,
            record: Record { boot, supervisor, ..Record::default() },
            ended: None,
            stopping: false,
            children: listen(SignalKind::child())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            _hangup: listen(SignalKind::hangup())?,
        };
        Ok((supervisor, lock))
    }

    async fn run(&mut self) -> i32 {
        let mut pause = None;
        loop {
            let started = Instant::now();
            self.now(Phase::Starting);
            match self.spawn() {
                Ok(child) => {
                    self.record.child = Some(child);
                    marked(child).await;
                    self.now(Phase::Running);
                    self.attend().await;
                }
                Err(problem) => {
                    log::note(&self.folder, &problem);
                    self.record.problem = Some(problem);
                }
            }
            let ended = self.record.exit.filter(|_| self.record.problem.is_none());
            if self.stopping {
                self.now(Phase::Stopped);
                return 0;
            }
            if ended.is_some_and(Exit::is_success) && self.launch.restart == Restart::OnFailure {
                self.now(Phase::Exited);
                return 0;
            }
            // What cannot be executed when it is asked for is a mistake; later it may be an update under way.
            if self.record.problem.is_some() && self.record.restarts == 0 {
                self.now(Phase::Failed);
                return 1;
            }
            self.now(Phase::BackingOff);
            let next = pause_after(started.elapsed(), pause);
            pause = Some(next);
            self.pause(next).await;
            if self.stopping {
                self.now(Phase::Stopped);
                return 0;
            }
            self.record.restarts += 1;
            self.record.problem = None;
        }
    }

    /// Writes down what is so now. A full disk must not end a server that runs, so it may fail.
    fn now(&mut self, phase: Phase) {
        self.record.phase = phase;
        if let Err(error) = self.record.write(&self.folder) {
            log::note(&self.folder, &error.to_string());
        }
    }

    fn spawn(&mut self) -> Result<Identity, String> {
        record::check_launch(&self.launch)?;
        let program = self.launch.argv.first().ok_or("its command is empty")?;
        let environment = environment::of(&self.launch, &self.folder)?;
        let output = log::open(&self.folder).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_dir());
        let working_directory = self.launch.working_directory.clone().or(home).unwrap_or_else(|| "/".into());
        let mut command = Command::new(program);
        command.args(&self.launch.argv[1..]).env_clear().envs(environment).current_dir(working_directory);
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        // Before its own first line.
        log::note_start(&self.folder, program);
        let child = command.spawn().map_err(|error| format!("cannot execute {program}: {error}"))?;
        self.ended = None;
        // Only `reap` waits for it, so the pid cannot have been reused, dead or alive.
        let status = proc::status(child.id()).ok_or_else(|| format!("cannot find {program} in /proc"))?;
        Ok(status.identity)
    }

    /// Waits until the server has ended, by itself or because we were asked to stop, and nothing of it is left.
    async fn attend(&mut self) {
        while self.ended.is_none() && !self.stopping {
            self.wake().await;
            self.reap();
        }
        self.clear().await;
        self.record.exit = self.ended;
        self.record.child = None;
        if let Some(exit) = self.ended {
            log::note(&self.folder, &format!("it ended with {exit}"));
        }
    }

    /// Ends all processes below us: asks once, then kills what is left after the time that the server may take.
    async fn clear(&mut self) {
        let asked_at = Instant::now();
        let patience = self.launch.stop_timeout.duration();
        let mut asked = BTreeSet::new();
        let group = self.record.child.map(|child| child.pid);
        // The number of a dead child that was waited for may belong to another group.
        if self.ended.is_none()
            && let Some(leader) = group.and_then(|pid| Pid::from_raw(pid.cast_signed()))
        {
            // A second SIGTERM makes llama-server give up its orderly end: everyone gets one.
            let members = proc::all().into_iter().filter(|process| Some(process.group) == group);
            asked.extend(members.map(|process| process.identity));
            let _ = kill_process_group(leader, Signal::TERM);
        }
        loop {
            self.reap();
            let left = proc::descendants(&proc::all(), &[std::process::id()]);
            if left.is_empty() || asked_at.elapsed() > patience + KILL {
                // What died during the look is not among the living, and not yet waited for.
                self.reap();
                return;
            }
            for process in left {
                if asked_at.elapsed() >= patience {
                    let _ = process.signal(Signal::KILL);
                } else if !asked.contains(&process) && process.signal(Signal::TERM) {
                    asked.insert(process);
                }
            }
            let step = (asked_at.elapsed() / 4).clamp(Duration::from_millis(5), Duration::from_millis(250));
            let until_patience = patience.saturating_sub(asked_at.elapsed()).max(Duration::from_millis(5));
            tokio::select! {
                () = self.wake() => {}
                () = sleep(step.min(until_patience)) => {}
            }
        }
    }

    async fn pause(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stopping && Instant::now() < until {
            tokio::select! {
                () = self.wake() => self.reap(),
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Waits for a signal, and remembers whether it asks us to stop.
    async fn wake(&mut self) {
        let stop = tokio::select! {
            _ = self.children.recv() => false,
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
        };
        self.stopping |= stop;
    }

    /// Waits for all that is dead: the server, and the orphans that came to us.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if self.record.child.is_some_and(|child| child.pid == pid.as_raw_pid().cast_unsigned()) {
                self.ended = Some(Exit::from_status(status));
            }
        }
    }
}

/// Waits until the environment of a new process can be seen, because `running` promises its fingerprint: an `exec` lets
/// its parent go on a moment before the kernel has set that up.
async fn marked(child: Identity) {
    for _ in 0..100 {
        if !child.alive() || proc::variable(child.pid, environment::MARK).is_some() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PAUSE, LONGEST_PAUSE, STEADY, pause_after};
    use std::time::Duration;

    #[test]
    fn pauses_grow_until_it_has_run_for_a_while() {
        let mut pauses = vec![pause_after(Duration::ZERO, None)];
        for _ in 0..6 {
            pauses.push(pause_after(Duration::from_secs(1), pauses.last().copied()));
        }
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause_after(STEADY, Some(LONGEST_PAUSE)), FIRST_PAUSE);
    }
}
