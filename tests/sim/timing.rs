//! What must hold of time: how soon a cancellation is answered, how long a server was healthy before it counts, and that a
//! server that the stack declares is started again for ever.

use crate::drive::{Before, End, Ended, Run};
use crate::schedule::{Blow, Episode};
use crate::stacks::STACK;
use crate::truth::{Server, Truth};
use llamero::history::Ending;
use llamero::live::RunState;
use llamero::reconcile::Finished;
use llamero::resolve::Desired;
use llamero::resource::{Resource, ResourceId};
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest that steps under way take, and to notice a cancellation.
const SOON: Duration = Duration::from_secs(2);

/// A15, A41: whoever is cancelled waits for no server any more and finishes only what is under way; a rollback that was due
/// begins by then.
pub(crate) fn answers_a_cancellation_soon(run: &Run, episode: &Episode) {
    let mut sim = run.sim();
    let held_up = episode.hung.is_some() || matches!(episode.blow, Some((_, Blow::Suspend(_))));
    let answer = sim.cancelled.zip(sim.answered).map(|(cancelled, answered)| answered.saturating_sub(cancelled));
    if let Some(took) = answer.filter(|took| *took > SOON && !held_up) {
        sim.violation(format!("A41: it ends, or begins to roll back, {took:?} after it was cancelled"));
    }
}

/// A41: what supersedes an apply finds the stack free as soon as that apply has ended.
pub(crate) fn supersedes(run: &Run, episode: &Episode, ends: &[Ended]) {
    let superseded = matches!(episode.blow, Some((_, Blow::Supersede(_))));
    let alone = episode.second.is_none() && run.notes().fired.is_empty() && run.notes().confirmed.is_empty();
    if superseded && alone && ends.iter().any(|ended| matches!(ended.end, End::Occupied)) {
        run.sim().violation("A41: what supersedes an apply is refused because of it".to_owned());
    }
}

/// A24: whatever is started while an apply goes on was healthy for as long as it must be before the apply is committed.
pub(crate) fn was_stable(run: &Run, before: &Before, finished: &Finished, desired: &Desired) {
    if finished.outcome.ending != Ending::Committed {
        return;
    }
    let Some((at, truth)) = run.notes().commits.get(&finished.generation).cloned() else { return };
    // What is reported as unhealthy before and after was never healthy in between, and what was unhealthy before fails
    // nothing.
    let excused = &finished.outcome.unhealthy_before;
    let counts = |resource: &Resource| {
        let number = |server: &Server| server.process.as_ref().map(|process| process.number);
        let (was, is) = (before.servers.get(&resource.id), truth.servers.get(&resource.id));
        let started = was.and_then(number) != is.and_then(number);
        started && !excused.contains(&resource.id) && was.is_none_or(|server| server.is_healthy(before.at))
    };
    let mut early = Vec::new();
    for (resource, spec) in desired.runs() {
        let id = &resource.id;
        let as_declared = |server: &&Server| {
            let running = server.process.as_ref().map(|process| &process.definition.fingerprint);
            running == Some(&resource.fingerprint())
        };
        let Some(server) = truth.servers.get(id).filter(as_declared) else { continue };
        let Some(since) = healthy_since(server).filter(|_| counts(resource)) else {
            continue;
        };
        if since + spec.stable_for.duration() > at {
            early.push(format!("{id}, healthy since {since:?}"));
        }
    }
    if !early.is_empty() {
        run.sim().violation(format!("A24: committed at {at:?} with {early:?}"));
    }
}

/// Returns when a server that runs became healthy as it is now.
fn healthy_since(server: &Server) -> Option<Duration> {
    let process = server.process.as_ref().filter(|_| server.state == RunState::Running)?;
    Some(process.started + process.behaviour.ready?)
}

/// A55: nothing that the committed generation declares is given up for good.
pub(crate) fn nothing_is_given_up(run: &Run, committed: Option<&Desired>) {
    let Some(committed) = committed else { return };
    let mut sim = run.sim();
    let now = sim.now;
    sim.truth.advance(now);
    let given_up = |truth: &Truth, id: &ResourceId| {
        let server = truth.servers.get(id).filter(|server| server.state == RunState::Failed);
        let definition = server.and_then(|server| server.definition.as_ref());
        definition.is_some_and(|definition| definition.stack.as_deref() == Some(STACK))
    };
    let failed: Vec<String> = committed
        .runs()
        .map(|(resource, _)| &resource.id)
        .filter(|id| given_up(&sim.truth, id))
        .map(ToString::to_string)
        .collect();
    if !failed.is_empty() {
        sim.violation(format!("A55: {failed:?} are never started again"));
    }
}

/// Returns the servers that crash, and that nothing but themselves keeps from being up.
pub(crate) fn crashing(run: &Run) -> BTreeSet<ResourceId> {
    let sim = run.sim();
    let crashes = |server: &Server| {
        let process = server.process.as_ref().is_some_and(|process| !process.clashed);
        let managed = server.definition.as_ref().is_some_and(|it| it.stack.as_deref() == Some(STACK));
        process && managed && server.state == RunState::BackingOff
    };
    sim.truth.servers.iter().filter(|(_, server)| crashes(server)).map(|(id, _)| id.clone()).collect()
}

/// A55: what crashed is back by itself once it can be.
pub(crate) fn is_back(run: &Run, crashed: &BTreeSet<ResourceId>) {
    let mut sim = run.sim();
    let clashes = |server: &Server| server.process.as_ref().is_some_and(|process| process.clashed);
    let is_down = |server: &Server| server.state != RunState::Running && !clashes(server);
    let down = |id: &&ResourceId| sim.truth.servers.get(id).is_some_and(is_down);
    let down: Vec<String> = crashed.iter().filter(down).map(ToString::to_string).collect();
    if !down.is_empty() {
        sim.violation(format!("A55: {down:?} crashed, could run since, and were not started again"));
    }
}
