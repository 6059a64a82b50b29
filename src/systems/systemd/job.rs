//! Starting, stopping and restarting a unit, and waiting for the job that this makes.
//!
//! A job's result is how the job ended, not whether the unit is healthy: a unit that died at once has `done` too.

use super::bus::{ManagerProxy, UNIT};
use super::client::Systemd;
use super::error::Error;
use super::unit::{ActiveState, words};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;
use zbus::OwnedObjectPath;

/// The interval at which the unit is queried for its job, for the case that the signal of the job's end is lost.
const POLL: Duration = Duration::from_millis(250);

words! {
    /// The result of a job.
    JobResult {
        /// It did what it should.
        Done = "done",
        /// Another job took its place.
        Canceled = "canceled",
        /// It ran out of time.
        Timeout = "timeout",
        /// The unit did not get there.
        Failed = "failed",
        /// A unit that this one needs did not get there.
        Dependency = "dependency",
        /// There was nothing to do.
        Skipped = "skipped",
    }
}

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its end.
    pub result: JobResult,
    /// True if the manager reported it; otherwise it follows from the unit's state, after the signal was lost or the
    /// job had been merged into another.
    pub announced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    async fn enqueue(self, manager: &ManagerProxy<'_>, unit: &str) -> zbus::Result<OwnedObjectPath> {
        match self {
            Self::Start => manager.start_unit(unit, "replace").await,
            Self::Stop => manager.stop_unit(unit, "replace").await,
            Self::Restart => manager.restart_unit(unit, "replace").await,
        }
    }
}

type Ended = (OwnedObjectPath, String);

impl Systemd {
    /// Starts a unit and waits for the end of the job. A unit that runs already is left as it is.
    pub async fn start(&self, unit: &str, deadline: Duration) -> Result<Job, Error> {
        self.change(Verb::Start, unit, deadline).await
    }

    /// Stops a unit and waits for the end of the job.
    pub async fn stop(&self, unit: &str, deadline: Duration) -> Result<Job, Error> {
        self.change(Verb::Stop, unit, deadline).await
    }

    /// Restarts a unit, or starts one that is stopped, and waits for the end of the job.
    pub async fn restart(&self, unit: &str, deadline: Duration) -> Result<Job, Error> {
        self.change(Verb::Restart, unit, deadline).await
    }

    async fn change(&self, verb: Verb, unit: &str, deadline: Duration) -> Result<Job, Error> {
        let what = format!("{} `{unit}`", verb.as_str());
        self.within(deadline, &what, async {
            // The signal may come before the call's own answer: listen first.
            let mut signals = self.manager.receive_job_removed().await?;
            let (sender, ended) = unbounded_channel();
            // A stream without a reader stops the whole connection once it is full, answers to calls included.
            let read = async {
                while let Some(signal) = signals.next().await {
                    if let Ok(end) = signal.args() {
                        let _ = sender.send((end.job, end.result));
                    }
                }
                // The connection is lost; the next call fails.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                outcome = self.follow(verb, unit, ended) => outcome,
                () = read => unreachable!("it never ends"),
            }
        })
        .await
    }

    async fn follow(&self, verb: Verb, unit: &str, mut ended: UnboundedReceiver<Ended>) -> zbus::Result<Job> {
        if verb != Verb::Stop {
            self.forget_failure(unit).await?;
        }
        let mut job = verb.enqueue(&self.manager, unit).await?;
        let mut is_ours = true;
        let mut was_gone = false;
        let mut results = HashMap::new();
        let mut poll = tokio::time::interval_at(Instant::now() + POLL, POLL);
        loop {
            tokio::select! {
                Some((path, result)) = ended.recv() => {
                    results.insert(path, result);
                    if let Some(result) = results.get(&job) {
                        if is_ours {
                            return Ok(Job { result: JobResult::read(result), announced: true });
                        }
                        // It was another's job: only the unit's state shows the result of ours.
                        was_gone = true;
                    }
                }
                _ = poll.tick() => match self.pending_job(unit).await? {
                    Some(path) if path == job => was_gone = false,
                    // Ours was merged into this one, or replaced by it.
                    Some(path) => {
                        job = path;
                        is_ours = false;
                        was_gone = false;
                    }
                    // The signal may be on its way: only the second look counts.
                    None if !was_gone => was_gone = true,
                    None => {
                        if let Some(result) = self.arrived(verb, unit).await? {
                            return Ok(Job { result, announced: false });
                        }
                    }
                },
            }
        }
    }

    /// Forgets how a unit failed: one that crashed too often refuses to start until then. To be refused that is no
    /// harm, for one that is not loaded has nothing to forget.
    pub(super) async fn forget_failure(&self, unit: &str) -> zbus::Result<()> {
        match self.manager.reset_failed_unit(unit).await {
            Err(error) if matches!(Error::of("", error.clone()), Error::Connection { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the job that the unit has in the queue.
    async fn pending_job(&self, unit: &str) -> zbus::Result<Option<OwnedObjectPath>> {
        let value = self.properties(unit).await?.one(UNIT, "Job").await?;
        let (id, path): (u32, OwnedObjectPath) = value.try_into()?;
        Ok((id != 0).then_some(path))
    }

    /// Returns what a unit is doing.
    pub(super) async fn unit_state(&self, unit: &str) -> zbus::Result<ActiveState> {
        let value = self.properties(unit).await?.one(UNIT, "ActiveState").await?;
        Ok(ActiveState::read(&String::try_from(value)?))
    }

    /// Returns how a job that is gone must have ended, by the unit's state; `None` while it is on its way.
    async fn arrived(&self, verb: Verb, unit: &str) -> zbus::Result<Option<JobResult>> {
        let state = self.unit_state(unit).await?;
        let is_wanted_up = verb != Verb::Stop;
        Ok(match state {
            ActiveState::Active | ActiveState::Reloading => Some(is_wanted_up),
            ActiveState::Failed | ActiveState::Inactive => Some(!is_wanted_up),
            // It waits to be started again, or dies: without a job, this is not what was asked for.
            ActiveState::Activating => (!is_wanted_up).then_some(false),
            ActiveState::Deactivating | ActiveState::Other(_) => None,
        }
        .map(|is_done| if is_done { JobResult::Done } else { JobResult::Failed }))
    }
}
