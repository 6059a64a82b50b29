//! Waiting for a server to be healthy: by its process, by what it answers, and by whether it gets on.
//!
//! Busy is not dead and loading is not failed: the clock of the wait starts again whenever the server visibly gets on,
//! up to a hard cap. A process that died ends the wait at once.

use super::excerpt::{SEARCHED, excerpt};
use super::step::Failure;
use super::{Event, Execution};
use crate::live::{Live, LiveRun, Presence, RunState};
use crate::observe::{health_of, inspect};
use crate::plan::Action;
use crate::resource::{Bytes, Health, Kind, Resource, ResourceId, Run};
use crate::systems::{Systems, files, secrets};
use std::time::{Duration, Instant};

/// How often a server is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// The hard cap of a wait, as a multiple of its timeout.
const CAP: u32 = 10;

/// How much a server's memory or log must have grown to count as getting on, in bytes.
const GROWTH: u64 = 1 << 20;

/// Looks at a server that must be there.
pub(super) async fn examine(execution: Execution<'_>, id: &ResourceId) -> Result<LiveRun, Failure> {
    match inspect(execution.systems, &execution.desired.stack, id).await {
        Presence::Present(Live::Run(run)) => Ok(*run),
        Presence::Present(_) | Presence::Absent => Err(Failure::new(id, "it is gone")),
        Presence::Unknown(why) => Err(Failure::new(id, format!("it cannot be seen: {why}"))),
    }
}

/// Waits until a server is healthy, dead, or out of time.
///
/// Returns how it was found when it was: what it must stay.
pub(super) async fn await_healthy(
    execution: Execution<'_>,
    action: &Action,
    resource: &Resource,
    run: &Run,
) -> Result<LiveRun, Failure> {
    let id = &resource.id;
    let begun = Instant::now();
    let cap = run.timeout.duration() * CAP;
    let restarts = examine(execution, id).await?.restarts;
    let (mut progressed, mut measure, mut told) = (Instant::now(), 0, String::new());
    loop {
        let live = examine(execution, id).await?;
        if let Some(why) = died(restarts, &live) {
            return Err(with_log(execution, Failure::new(id, why)).await);
        }
        let health = if live.phase == RunState::Running {
            health_of(execution.systems, run, &live).await
        } else {
            Health::Unreachable { why: "it is starting".to_owned() }
        };
        if health == Health::Healthy {
            return limits_hold(id, run, &live).map(|()| live);
        }
        let size = live.memory.map_or(0, |memory| memory.0) + log_size(execution.systems, id);
        if size >= measure + GROWTH {
            measure = size;
            progressed = Instant::now();
        }
        if progressed.elapsed() >= run.timeout.duration() || begun.elapsed() >= cap {
            let why = format!("it is not healthy after {} s: {health}", begun.elapsed().as_secs());
            let mut failure = with_log(execution, Failure::new(id, why)).await;
            failure.hint = Some("if it only needs longer, raise `health.timeout` in the manifest".to_owned());
            return Err(failure);
        }
        let note = match &health {
            // While it starts, that is to be expected.
            Health::Unreachable { why } => format!("no answer yet: {why}"),
            other => other.to_string(),
        };
        if note != told {
            let step = action.to_string();
            (execution.report)(Event::Progress { step, done: None, total: None, note: Some(note.clone()) });
            told = note;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = execution.cancel.cancelled() => {
                return Err(Failure { interrupted: true, ..Failure::new(id, "stopped while it was starting") });
            }
        }
    }
}

fn died(restarts: u32, now: &LiveRun) -> Option<String> {
    let why = now.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match now.phase {
        RunState::Failed | RunState::Stopped => Some(format!("it ended{why}")),
        RunState::BackingOff => Some(format!("it ended and waits to be started again{why}")),
        RunState::Running | RunState::Starting if now.restarts > restarts => {
            Some(format!("it ended and was started again{why}"))
        }
        RunState::Running | RunState::Starting => None,
    }
}

fn limits_hold(id: &ResourceId, run: &Run, live: &LiveRun) -> Result<(), Failure> {
    let Some(declared) = run.limits.memory.filter(|_| id.kind != Kind::Process) else { return Ok(()) };
    // The kernel counts memory in pages, so a limit is rounded down to one.
    let in_force = live.memory_limit.map_or(u64::MAX, |limit| limit.0);
    if in_force.abs_diff(declared.0) < 1 << 16 {
        return Ok(());
    }
    let is = live.memory_limit.map_or_else(|| "none".to_owned(), |limit: Bytes| limit.to_string());
    Err(Failure::new(id, format!("its memory limit is {is} instead of {declared}")))
}

fn log_size(systems: &Systems, id: &ResourceId) -> u64 {
    files::stamp(&systems.processes.log(&id.name)).ok().flatten().map_or(0, |(size, _)| size.0)
}

/// Adds what the server wrote that tells why, its secrets masked: what failed is kept and shown to others.
pub(super) async fn with_log(execution: Execution<'_>, failure: Failure) -> Failure {
    let Some(id) = failure.on.clone() else { return failure };
    if id.kind == Kind::Unit {
        let name = super::handoff::running_unit(execution.systems, &id);
        return with_log_of(execution, failure, &name).await;
    }
    let log = if id.kind == Kind::Process {
        execution.systems.processes.last_lines(&id.name, SEARCHED)
    } else if id.kind == Kind::Container {
        super::container::last_lines(execution, &id, SEARCHED).await
    } else {
        Vec::new()
    };
    with_lines(execution, failure, log)
}

/// Adds what a unit of the systemd manager's wrote.
pub(super) async fn with_log_of(execution: Execution<'_>, failure: Failure, unit: &str) -> Failure {
    let log = match execution.systems.systemd().await {
        Ok(systemd) => systemd.last_lines(unit, SEARCHED).await,
        Err(_) => Vec::new(),
    };
    with_lines(execution, failure, log)
}

fn with_lines(execution: Execution<'_>, failure: Failure, log: Vec<String>) -> Failure {
    let secrets = execution.desired.secrets().filter_map(|reference| secrets::resolve(reference).ok());
    let secrets: Vec<_> = secrets.collect();
    let masked = |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret.reveal(), "(secret)"));
    Failure { log: excerpt(log).into_iter().map(masked).collect(), why: masked(failure.why), ..failure }
}
