//! Waiting for a server to be healthy: by its process, by what it answers, and by whether it gets on.
//!
//! Busy is not dead and loading is not failed: the clock of the wait starts again whenever the server visibly gets on,
//! up to a hard cap. A process that died ends the wait at once.

use super::excerpt::excerpt;
use super::step::{Failure, server};
use super::{Event, Execution, Machine};
use crate::engines;
use crate::live::{Live, LiveRun, Presence, RunState};
use crate::plan::Action;
use crate::resource::{Bytes, Health, Resource, ResourceId, Run};
use crate::systems::listener::Foreign;
use crate::systems::start_clock::{self, StartClock};
use crate::targets;
use std::time::Duration;

/// The polling interval.
const EVERY: Duration = Duration::from_millis(200);

/// The time after which another process counts as the holder of a server's port.
const FOREIGN: Duration = Duration::from_secs(2);

/// Looks at a server that must be there.
pub(super) async fn examine<M: Machine>(execution: Execution<'_, M>, id: &ResourceId) -> Result<LiveRun, Failure> {
    match execution.systems.inspect(&execution.desired.stack, id).await {
        Presence::Present(Live::Run(run)) => Ok(*run),
        Presence::Present(_) | Presence::Absent => Err(Failure::new(id, "it is missing")),
        Presence::Unknown(unseen) => {
            let failure = Failure::new(id, format!("it cannot be seen: {unseen}"));
            Err(Failure { hint: unseen.hint, ..failure })
        }
    }
}

/// Waits until a server is healthy, dead, or out of time.
///
/// Returns how it was found when it was: what it must stay.
pub(super) async fn await_healthy<M: Machine>(
    execution: Execution<'_, M>,
    action: &Action,
    id: &ResourceId,
) -> Result<LiveRun, Failure> {
    let (_, run) = server(execution, id)?;
    let passed = |since: Duration| execution.systems.elapsed().saturating_sub(since);
    let mut clock = StartClock::new(run, execution.systems.elapsed());
    let restarts = examine(execution, id).await?.restarts;
    let mut reported = String::new();
    let mut foreign: Option<(Foreign, Duration)> = None;
    loop {
        let live = examine(execution, id).await?;
        if let Some(why) = died(restarts, &live) {
            return Err(with_log(execution, Failure::new(id, why)).await);
        }
        let health = if live.phase == RunState::Running {
            match execution.systems.health(&execution.desired.stack, (id, run), &live).await {
                Ok(health) => {
                    foreign = None;
                    health
                }
                Err(now) => {
                    // An earlier holder may be exiting; a lasting one fails the wait at once.
                    let same = foreign.filter(|(before, _)| *before == now);
                    let since = same.map_or_else(|| execution.systems.elapsed(), |it| it.1);
                    if passed(since) >= FOREIGN {
                        let hint = Some(now.hint());
                        return Err(Failure { hint, ..with_log(execution, Failure::new(id, now.to_string())).await });
                    }
                    let health = Health::unhealthy(now.to_string());
                    foreign = Some((now, since));
                    health
                }
            }
        } else {
            Health::Unreachable { why: "it is starting".to_owned() }
        };
        if health == Health::Healthy {
            return limits_hold(id, run, &live).map(|()| live);
        }
        let size = live.memory.map_or(0, |memory| memory.0) + execution.systems.log_size(id);
        if let Some(late) = clock.is_late(size, execution.systems.elapsed()) {
            let failure = Failure::new(id, format!("it is not healthy after {} s: {health}", late.as_secs()));
            return Err(with_log(execution, start_clock::needs_longer(failure)).await);
        }
        let note = match &health {
            // Expected while it starts.
            Health::Unreachable { why } => format!("no answer yet: {why}"),
            other => other.to_string(),
        };
        if note != reported {
            let step = action.to_string();
            (execution.report)(Event::Progress { step, done: None, total: None, note: Some(note.clone()) });
            reported = note;
        }
        tokio::select! {
            biased;
            () = execution.cancel.cancelled() => {
                return Err(Failure { interrupted: true, ..Failure::new(id, "stopped while it was starting") });
            }
            () = execution.systems.sleep(EVERY) => {}
        }
    }
}

fn died(restarts: u32, now: &LiveRun) -> Option<String> {
    let why = now.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match now.phase {
        RunState::Failed | RunState::Stopped => Some(format!("it ended{why}")),
        RunState::BackingOff => Some(format!("it exited and waits to be restarted{why}")),
        RunState::Running | RunState::Starting if now.restarts > restarts => {
            Some(format!("it ended and was started again{why}"))
        }
        RunState::Running | RunState::Starting => None,
    }
}

fn limits_hold(id: &ResourceId, run: &Run, live: &LiveRun) -> Result<(), Failure> {
    let enforced = targets::of_kind(id.kind).is_some_and(targets::Target::enforces_limits);
    let Some(declared) = run.limits.memory.filter(|_| enforced) else { return Ok(()) };
    // The kernel counts memory in pages, so a limit is rounded down to one.
    let in_force = live.memory_limit.map_or(u64::MAX, |limit| limit.0);
    if in_force.abs_diff(declared.0) < 1 << 16 {
        return Ok(());
    }
    let is = live.memory_limit.map_or_else(|| "none".to_owned(), |limit: Bytes| limit.to_string());
    Err(Failure::new(id, format!("its memory limit is {is} instead of {declared}")))
}

/// Adds an excerpt of the server's log, its secrets masked, because failures are stored and shown.
pub(super) async fn with_log<M: Machine>(execution: Execution<'_, M>, failure: Failure) -> Failure {
    let Some(id) = &failure.on else { return failure };
    let log = execution.systems.log(&execution.desired.stack, id).await;
    with_lines(execution, Failure { log, ..failure })
}

/// Keeps the lines of a failure's log that show the cause, with secrets masked.
pub(super) fn with_lines<M: Machine>(execution: Execution<'_, M>, failure: Failure) -> Failure {
    let secrets = execution.desired.secrets().filter_map(|reference| execution.systems.secret(reference).ok());
    let secrets: Vec<_> = secrets.collect();
    let run = failure.on.as_ref().and_then(|id| execution.desired.resources.get(id)).and_then(Resource::run);
    let engine = run.and_then(|run| run.engine.as_ref()).and_then(|name| engines::find(name.as_str()));
    let masked = |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret.reveal(), "(secret)"));
    let names_cause = |line: &str| engine.map_or_else(|| engines::names_exception(line), |it| it.names_cause(line));
    let log = excerpt(failure.log, names_cause).into_iter().map(masked).collect();
    Failure { log, why: masked(failure.why), ..failure }
}
