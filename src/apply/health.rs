//! Waiting for a server to be healthy: by its process, by what it answers, and by whether it gets on.
//!
//! Busy is not dead and loading is not failed: the clock of the wait starts again whenever the server visibly gets on,
//! up to a hard cap. A process that died ends the wait at once.

use super::event::Event;
use super::execution::Execution;
use super::log::with_log;
use super::machine::Machine;
use crate::live::{Live, LiveRun, Presence, RunState};
use crate::plan::Action;
use crate::resource::{Bytes, Health, ResourceId, Run};
use crate::systems::Failure;
use crate::systems::listener::Foreign;
use crate::systems::start_clock::{self, StartClock};
use crate::targets;
use std::time::Duration;

/// The polling interval.
const EVERY: Duration = Duration::from_millis(200);

/// The time after which another process counts as the holder of a server's port.
const FOREIGN: Duration = Duration::from_secs(2);

/// The time for a server that died and runs again to show by another end what ended it.
const AGAIN: Duration = Duration::from_secs(2);

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
    let (_, run) = execution.server(id)?;
    let mut clock = StartClock::new(run, execution.systems.elapsed());
    let mut live = examine(execution, id).await?;
    let restarts = live.restarts;
    let mut wait = Wait { execution, id, run, foreign: None, reported: String::new() };
    loop {
        if let Some(why) = died(restarts, &live) {
            let why = wait.cause(restarts, &live).await.unwrap_or(why);
            return Err(with_log(execution, Failure::new(id, why)).await);
        }
        let health = wait.health(&live).await?;
        if health == Health::Healthy {
            return limits_hold(id, run, &live).map(|()| live);
        }
        let size = live.memory.map_or(0, |memory| memory.0) + execution.systems.log_size(id);
        if let Some(late) = clock.is_late(size, execution.systems.elapsed()) {
            let failure = Failure::new(id, format!("it is not healthy after {} s: {health}", late.as_secs()));
            return Err(with_log(execution, start_clock::needs_longer(failure)).await);
        }
        wait.report(action, &health);
        tokio::select! {
            biased;
            () = execution.cancel.cancelled() => {
                return Err(Failure { interrupted: true, ..Failure::new(id, "stopped while it was starting") });
            }
            () = execution.systems.sleep(EVERY) => {}
        }
        live = examine(execution, id).await?;
    }
}

/// A wait for one server.
struct Wait<'a, M> {
    execution: Execution<'a, M>,
    id: &'a ResourceId,
    run: &'a Run,
    /// The other process that holds the server's port, and since when.
    foreign: Option<(Foreign, Duration)>,
    /// The last note that was reported.
    reported: String,
}

impl<M: Machine> Wait<'_, M> {
    /// Returns the health of the server; fails once another process has held its port for too long.
    async fn health(&mut self, live: &LiveRun) -> Result<Health, Failure> {
        if live.phase != RunState::Running {
            return Ok(Health::Unreachable { why: "it is starting".to_owned() });
        }
        let machine = self.execution.systems;
        let holder = match machine.health(&self.execution.desired.stack, (self.id, self.run), live).await {
            Ok(health) => {
                self.foreign = None;
                return Ok(health);
            }
            Err(holder) => holder,
        };
        // An earlier holder may be exiting; one that stays fails the wait.
        let same = self.foreign.as_ref().filter(|(before, _)| *before == holder);
        let since = same.map_or_else(|| machine.elapsed(), |(_, since)| *since);
        let text = holder.to_string();
        if machine.elapsed().saturating_sub(since) >= FOREIGN {
            let failure = with_log(self.execution, Failure::new(self.id, text)).await;
            return Err(Failure { hint: Some(holder.hint()), ..failure });
        }
        self.foreign = Some((holder, since));
        Ok(Health::unhealthy(text))
    }

    /// Returns why a server died that runs again: what ended it is shown no sooner than it ends once more.
    async fn cause(&self, restarts: u32, live: &LiveRun) -> Option<String> {
        if live.why.is_some() || !matches!(live.phase, RunState::Running | RunState::Starting) {
            return None;
        }
        let machine = self.execution.systems;
        let begun = machine.elapsed();
        while machine.elapsed().saturating_sub(begun) < AGAIN && !self.execution.cancel.is_cancelled() {
            machine.sleep(EVERY).await;
            let live = examine(self.execution, self.id).await.ok()?;
            if live.why.is_some() {
                return died(restarts, &live);
            }
        }
        None
    }

    /// Reports what the wait is for, once.
    fn report(&mut self, action: &Action, health: &Health) {
        let note = match health {
            // Expected while it starts.
            Health::Unreachable { why } => format!("no answer yet: {why}"),
            other => other.to_string(),
        };
        if note != self.reported {
            let step = action.to_string();
            (self.execution.report)(Event::Progress { step, done: None, total: None, note: Some(note.clone()) });
            self.reported = note;
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
