//! Waiting for a server to be healthy: by its process, by what it answers, and by whether it gets on.
//!
//! Busy is not dead and loading is not failed: the clock of the wait starts again whenever the server visibly gets on,
//! up to a hard cap. A process that died ends the wait at once.

use super::step::{Failure, unit_name};
use super::{Event, Scene};
use crate::observed::Phase;
use crate::plan::Action;
use crate::resource::{Health, Kind, Resource, ResourceId, Run};
use crate::systems::{Hint, Systems, health, processes_memory, secrets};
use std::time::{Duration, Instant};

/// How often a server is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// The hard cap of a wait, as a multiple of its timeout.
const CAP: u32 = 10;

/// How much a server's memory or log must have grown to count as getting on, in bytes.
const GROWTH: u64 = 1 << 20;

/// How many lines of a server's log are shown when it fails.
const LOG_LINES: usize = 12;

/// What a look at a running server brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// What it is doing.
    pub phase: Phase,
    /// Names this very start of it.
    pub identity: Option<String>,
    /// How often its runtime started it again.
    pub restarts: u32,
    /// Its process.
    pub pid: Option<u32>,
    /// Why it does not run.
    pub why: Option<String>,
    /// The memory limit in force, in bytes, where the runtime has one.
    pub memory_limit: Option<u64>,
}

/// Looks at a server once, without asking it anything.
pub async fn examine(systems: &Systems, id: &ResourceId) -> Result<Watch, Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    if id.kind == Kind::Process {
        let state = systems.processes.state(&id.name).map_err(|error| failed(&error))?;
        return Ok(systems.watch_process(&state));
    }
    let systemd = systems.systemd().await.map_err(|error| failed(&error))?;
    let name = unit_name(id);
    let mut units = systemd.units(std::slice::from_ref(&name)).await;
    let unit = units.remove(&name).ok_or_else(|| Failure::new(id, format!("systemd says nothing of {name}")))?;
    Ok(systems.watch_unit(&unit.map_err(|error| failed(&error))?))
}

/// Asks a server its probe's question once.
pub async fn ask(systems: &Systems, run: &Run) -> Health {
    let token = match run.probe.authorization().map(|authorization| secrets::resolve(&authorization.0)) {
        Some(Ok(token)) => Some(token),
        Some(Err(error)) => return Health::Unhealthy { why: error.to_string() },
        None => None,
    };
    health::ask(&systems.client, &run.probe, token.as_ref()).await
}

/// Waits until a server is healthy, dead, or out of time.
pub(super) async fn await_healthy(scene: Scene<'_>, action: &Action, resource: &Resource) -> Result<(), Failure> {
    let id = &resource.id;
    let Some(run) = resource.run() else { return Ok(()) };
    let begun = Instant::now();
    let cap = run.timeout.duration() * CAP;
    let first = examine(scene.systems, id).await?;
    let mut progressed = Instant::now();
    let mut measure = 0;
    let mut told = String::new();
    loop {
        let watch = examine(scene.systems, id).await?;
        if let Some(why) = died(&first, &watch) {
            return Err(with_log(scene.systems, Failure::new(id, why)).await);
        }
        let health = if watch.phase == Phase::Running {
            ask(scene.systems, run).await
        } else {
            Health::Unreachable { why: "it is starting".to_owned() }
        };
        if health == Health::Healthy {
            return limits_hold(id, run, &watch);
        }
        let grown = processes_memory(watch.pid).max(scene.systems.log_size(id));
        if grown >= measure + GROWTH {
            measure = grown;
            progressed = Instant::now();
        }
        if progressed.elapsed() >= run.timeout.duration() || begun.elapsed() >= cap {
            let why = format!("it is not healthy after {} s: {health}", begun.elapsed().as_secs());
            let mut failure = with_log(scene.systems, Failure::new(id, why)).await;
            failure.hint = Some("if it only needs longer, raise `health.timeout` in the manifest".to_owned());
            return Err(failure);
        }
        let note = health.to_string();
        if note != told {
            let step = action.to_string();
            (scene.report)(Event::Progress { step, done: None, total: None, note: Some(note.clone()) });
            told = note;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = scene.cancel.cancelled() => return Err(Failure::new(id, "stopped while it was starting")),
        }
    }
}

fn died(first: &Watch, now: &Watch) -> Option<String> {
    let why = now.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match now.phase {
        Phase::Failed | Phase::Stopped => Some(format!("it ended{why}")),
        Phase::BackingOff => Some(format!("it ended and waits to be started again{why}")),
        Phase::Running | Phase::Starting if now.restarts > first.restarts => Some(format!("it ended and was started again{why}")),
        Phase::Running | Phase::Starting => None,
    }
}

fn limits_hold(id: &ResourceId, run: &Run, watch: &Watch) -> Result<(), Failure> {
    let Some(wanted) = run.limits.memory.filter(|_| id.kind == Kind::Unit) else { return Ok(()) };
    // The kernel counts memory in pages, so a limit is rounded down to one.
    let in_force = watch.memory_limit.unwrap_or(u64::MAX);
    if in_force.abs_diff(wanted.0) < 1 << 16 {
        return Ok(());
    }
    let is = watch.memory_limit.map_or_else(|| "none".to_owned(), |bytes| crate::resource::Bytes(bytes).to_string());
    Err(Failure::new(id, format!("its memory limit is {is} instead of {wanted}")))
}

pub(super) async fn with_log(systems: &Systems, failure: Failure) -> Failure {
    let Some(id) = failure.on.clone() else { return failure };
    let log = if id.kind == Kind::Process {
        systems.processes.last_lines(&id.name, LOG_LINES)
    } else if let Ok(systemd) = systems.systemd().await {
        systemd.last_lines(&unit_name(&id), LOG_LINES).await
    } else {
        Vec::new()
    };
    Failure { log, ..failure }
}
