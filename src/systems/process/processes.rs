//! The servers of one stack, as their folders and their processes show them.

use super::error::{Error, START};
use super::record::{Exit, Phase, Record};
use super::{environment, log, record};
use crate::resource::Fingerprint;
use crate::systems::proc::{self, Identity};
use crate::systems::{files, sealed};
use llamero_core::targets::process::lower::Launch;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// The time for the kernel to end a process after SIGKILL.
pub(super) const KILL: Duration = Duration::from_secs(5);
/// The polling interval for what sends no event.
const LOOK: Duration = Duration::from_millis(20);

/// The live state of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessState {
    /// The launch that was last requested.
    pub launch: Launch,
    /// Its state.
    pub phase: Phase,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// The identifier of this start.
    pub identity: Option<String>,
    /// The number of restarts since the last requested start.
    pub restarts: u32,
    /// The fingerprint in the environment of the process that runs.
    pub running_fingerprint: Option<Fingerprint>,
    /// Its last end.
    pub exit: Option<Exit>,
    /// The reason for a failed start.
    pub problem: Option<String>,
    /// True if its supervisor is there to start it again.
    pub supervised: bool,
}

/// The servers of one stack that run on this runtime.
#[derive(Debug, Clone)]
pub struct Processes {
    folder: PathBuf,
    program: PathBuf,
}

impl Processes {
    /// Returns the servers whose folders are in `folder`; `program` is the llamero that supervises them.
    #[must_use]
    pub fn new(folder: PathBuf, program: PathBuf) -> Self {
        // The mark in the environment of a server is its folder: one spelling, from wherever llamero is run.
        Self { folder: std::path::absolute(&folder).unwrap_or(folder), program }
    }

    /// Returns the folder of the servers' folders.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the names of the servers, sorted: those that have a record, and those that run without.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let mut names = files::names(&self.folder)?;
        names.retain(|name| {
            let folder = self.folder.join(name);
            folder.join(record::LAUNCH).exists() || (folder.is_dir() && live_launch(&folder).is_some())
        });
        Ok(names)
    }

    /// Returns what is wrong with the records of a server.
    pub fn damage(&self, name: &str) -> Result<Vec<sealed::Error>, Error> {
        let folder = self.folder_of(name)?;
        let record = Record::read(&folder).map(drop).err();
        Ok(record::read_launch(&folder).map(drop).err().into_iter().chain(record).collect())
    }

    /// Returns whether a server runs of which there is no record to go by.
    pub fn is_lost(&self, name: &str) -> Result<bool, Error> {
        let folder = self.folder_of(name)?;
        Ok(folder.is_dir() && record::read_launch(&folder)?.is_none() && live_launch(&folder).is_some())
    }

    /// Writes the record of a server anew that runs without, from its marks; returns whether it does.
    pub fn rebuild(&self, name: &str) -> Result<bool, Error> {
        let folder = self.folder_of(name)?;
        if !folder.is_dir() || record::read_launch(&folder)?.is_some() {
            return Ok(false);
        }
        let Some(launch) = live_launch(&folder) else { return Ok(false) };
        record::write_launch(&launch, &folder)?;
        Ok(true)
    }

    /// Returns what is known of a server. A number that now belongs to another process, or to another boot, is not
    /// taken for it.
    pub fn state(&self, name: &str) -> Result<ProcessState, Error> {
        let folder = self.folder_of(name)?;
        let record = Record::read(&folder)?;
        let launch = match record::read_launch(&folder)? {
            Some(launch) => launch,
            // What runs is not gone because its record is.
            None if folder.is_dir() => match (live_launch(&folder), belongings(&folder, record.as_ref()).pop_first()) {
                (Some(launch), _) => launch,
                (None, Some(process)) => return Err(Error::Recovered { name: name.to_owned(), pid: process.pid }),
                (None, None) => return Err(Error::Missing(name.to_owned())),
            },
            None => return Err(Error::Missing(name.to_owned())),
        };
        let supervised = supervisor(&folder, record.as_ref()).is_some();
        let mut process = record.as_ref().and_then(Record::child);
        if process.is_none() && (!supervised || record.as_ref().is_none_or(|record| record.phase == Phase::Running)) {
            // It was started, and its supervisor killed before it could write that down; or the record is not true.
            process = belongings(&folder, None).into_iter().min_by_key(|process| (process.start, process.pid));
        }
        let phase = match &record {
            Some(record) if supervised && record.supervisor().is_some() => record.phase,
            _ if process.is_some() => Phase::Running,
            Some(record) => record.phase_without_supervisor(),
            None => Phase::Stopped,
        };
        let record = record.unwrap_or_default();
        Ok(ProcessState {
            launch,
            phase,
            pid: process.map(|process| process.pid),
            identity: process.map(|process| format!("{}:{}", process.pid, process.start)),
            restarts: record.restarts,
            running_fingerprint: process.and_then(|process| proc::fingerprint_of(process.pid)),
            exit: record.exit,
            problem: record.problem,
            supervised,
        })
    }

    /// Returns the processes of a server: the one that was started, what it and its supervisor have started since, and
    /// what carries its mark and is of this user.
    #[must_use]
    pub fn members(&self, name: &str) -> BTreeSet<u32> {
        let Ok(folder) = self.folder_of(name) else { return BTreeSet::new() };
        let record = Record::read(&folder).ok().flatten();
        belongings(&folder, record.as_ref()).into_iter().map(|process| process.pid).collect()
    }

    /// Starts a server under a supervisor of its own that outlives this process, its terminal and its process group.
    /// Returns when the server's program runs, or says why it does not.
    pub async fn start(&self, name: &str, launch: &Launch) -> Result<(), Error> {
        let folder = self.folder_of(name)?;
        let unstartable = |problem: String| Error::Unstartable { name: name.to_owned(), problem };
        record::check_launch(launch).map_err(unstartable)?;
        let record = Record::read(&folder).ok().flatten();
        let supervisor = supervisor(&folder, record.as_ref());
        if let Some(supervisor) = supervisor.filter(|_| record.as_ref().is_some_and(|record| record.phase.is_final())) {
            // It has written its last word and is about to end.
            let until = Instant::now() + KILL;
            while supervisor.alive() && Instant::now() < until {
                sleep(LOOK / 4).await;
            }
        }
        let supervisor = supervisor.filter(|supervisor| supervisor.alive());
        if let Some(process) = supervisor.or_else(|| belongings(&folder, record.as_ref()).pop_first()) {
            return Err(Error::Running { name: name.to_owned(), pid: process.pid });
        }
        files::create_folder(&folder)?;
        files::remove(&folder.join(record::STATE))?;
        record::write_launch(launch, &folder)?;
        let mut child = self.spawn(&folder, launch)?;
        let supervisor = child.id();
        let started = timeout(START, async {
            loop {
                // Asked for first, so that what it wrote just before its end is read.
                let ended = child.try_wait().ok().flatten();
                let record = Record::read(&folder)?.filter(|record| Some(record.supervisor.pid) == supervisor);
                match (record.filter(|record| record.phase != Phase::Starting), ended) {
                    (Some(Record { phase: Phase::Failed, problem: Some(problem), .. }), _) => {
                        let _ = child.wait().await;
                        return Err(unstartable(problem));
                    }
                    (Some(_), _) => return Ok(()),
                    (None, Some(status)) => {
                        let line = self.last_lines(name, 1).pop().unwrap_or_default();
                        return Err(Error::SupervisorEnded { name: name.to_owned(), status, line });
                    }
                    (None, None) => sleep(LOOK).await,
                }
            }
        })
        .await;
        if let Ok(result) = started {
            return result;
        }
        // It may not have written down that it is there.
        let _ = child.start_kill();
        self.stop(name, KILL).await?;
        Err(Error::Silent(name.to_owned()))
    }

    fn spawn(&self, folder: &Path, launch: &Launch) -> Result<Child, Error> {
        let log = folder.join(log::LOG);
        let stderr = OpenOptions::new().append(true).create(true).mode(files::PRIVATE).open(&log);
        let stderr = stderr.map_err(|source| files::Error::Refused { operation: "open", path: log, source })?;
        // Not a process group of its own: the leader of one cannot make the new session that it needs.
        Command::new(&self.program)
            .arg("supervise")
            .arg(folder)
            .env_clear()
            .envs(environment::inherited())
            .envs(environment::marks(launch))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|source| Error::Supervisor { program: self.program.clone(), source })
    }

    /// Stops a server with all that it started, at the latest by force when `deadline` has passed; then nothing of
    /// it is left, or the error names what is. A server that does not run is stopped already.
    pub async fn stop(&self, name: &str, deadline: Duration) -> Result<(), Error> {
        let folder = self.folder_of(name)?;
        let deadline = Instant::now() + deadline;
        // Damaged files must not keep anyone from stopping what runs: the marks find it.
        let record = Record::read(&folder).ok().flatten();
        let stop_timeout =
            record::read_launch(&folder).ok().flatten().map_or(KILL, |launch| launch.stop_timeout.duration());
        let supervisor = supervisor(&folder, record.as_ref());
        if let Some(supervisor) = supervisor {
            let mut asked = supervisor.signal(Signal::TERM);
            while supervisor.alive() && Instant::now() < deadline {
                sleep(LOOK).await;
                // One that could not be seen for a moment was not asked.
                asked = asked || supervisor.signal(Signal::TERM);
            }
            // First the one that would start it again.
            let _ = supervisor.signal(Signal::KILL);
        }
        let left = || belongings(&folder, record.as_ref());
        let mut asked = BTreeSet::new();
        let patience = deadline.min(Instant::now() + stop_timeout);
        let mut forced = false;
        let mut pause = LOOK / 4;
        loop {
            let remaining = left();
            let supervisor = supervisor.filter(|supervisor| supervisor.alive());
            if remaining.is_empty() && supervisor.is_none() {
                break;
            }
            let now = Instant::now();
            if now > patience + KILL {
                let pids = remaining.iter().chain(&supervisor).map(|process| process.pid).collect();
                return Err(Error::Left { name: name.to_owned(), pids });
            }
            for process in remaining {
                if now >= patience {
                    forced = process.signal(Signal::KILL) || forced;
                } else if !asked.contains(&process) && process.signal(Signal::TERM) {
                    asked.insert(process);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK * 5);
        }
        // A supervisor that could do its work has written what happened.
        match record.filter(|_| folder.join(record::LAUNCH).exists()) {
            Some(record) if Record::read(&folder).ok().flatten().is_none_or(|now| !now.phase.is_final()) => {
                let signal = if forced { Signal::KILL } else { Signal::TERM };
                let exit = Some(Exit { code: None, signal: Some(signal.as_raw()) });
                Ok(Record { phase: Phase::Stopped, child: None, exit, ..record }.write(&folder)?)
            }
            _ => Ok(()),
        }
    }

    /// Returns the file with what a server printed.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(name).join(log::LOG)
    }

    /// Removes the folder of a stopped server, its log included.
    pub fn forget(&self, name: &str) -> Result<(), Error> {
        let folder = self.folder_of(name)?;
        let record = Record::read(&folder).ok().flatten();
        let supervisor = supervisor(&folder, record.as_ref());
        if let Some(process) = supervisor.or_else(|| belongings(&folder, record.as_ref()).pop_first()) {
            return Err(Error::Running { name: name.to_owned(), pid: process.pid });
        }
        files::remove_folder(&folder)?;
        Ok(())
    }

    /// Returns the last `count` lines that a server printed, or fewer where they are very long.
    #[must_use]
    pub fn last_lines(&self, name: &str, count: usize) -> Vec<String> {
        self.folder_of(name).map(|folder| log::last_lines(&folder, count)).unwrap_or_default()
    }

    fn folder_of(&self, name: &str) -> Result<PathBuf, Error> {
        let is_name = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        if is_name { Ok(self.folder.join(name)) } else { Err(Error::Name(name.to_owned())) }
    }
}

/// Returns the supervisor of the server in `folder`, if it lives: the recorded one, or where the record is lost or not
/// true, the one whose command says so.
fn supervisor(folder: &Path, record: Option<&Record>) -> Option<Identity> {
    let recorded = record.and_then(Record::supervisor);
    if recorded.is_some() || record.is_some_and(|record| record.phase.is_final()) {
        return recorded;
    }
    let command = format!(" supervise {}", folder.display());
    let supervises = |pid| proc::command(pid).is_some_and(|line| line.ends_with(&command));
    proc::all().into_iter().find(|process| supervises(process.identity.pid)).map(|process| process.identity)
}

/// Returns what the server in `folder` was started with, from its marks: those of its oldest process, or those of its
/// supervisor where that one has written over its own.
fn live_launch(folder: &Path) -> Option<Launch> {
    let mut processes: Vec<Identity> = belongings(folder, None).into_iter().collect();
    processes.sort_by_key(|process| (process.start, process.pid));
    let oldest = *processes.first()?;
    let marked = processes.into_iter().chain(supervisor(folder, None));
    marked.into_iter().find_map(|process| record::launch_of(process, oldest))
}

/// Returns the processes that belong to the server in `folder`: the recorded one, those below it and its supervisor,
/// and all that carry its mark, wherever they have moved to.
fn belongings(folder: &Path, record: Option<&Record>) -> BTreeSet<Identity> {
    let all = proc::all();
    let child = record.and_then(Record::child);
    let supervisor = supervisor(folder, record);
    let roots: Vec<u32> = child.iter().chain(&supervisor).map(|process| process.pid).collect();
    let mut live = proc::descendants(&all, &roots);
    live.extend(child);
    let marked = all.iter().filter(|process| {
        !process.zombie
            && proc::variable(process.identity.pid, environment::MARK).as_deref() == folder.to_str()
            && proc::is_of_this_user(process.identity.pid)
    });
    live.extend(marked.map(|process| process.identity));
    // A server that runs llamero on itself.
    live.retain(|process| process.pid != std::process::id());
    live
}
