//! The switch phase: what must give something up stops, definitions are written and loaded, and servers start.

use super::basis::Basis;
use super::ends::Ends;
use super::models::models;
use super::sequence::{behind_the_rest, by_need, first_on_gpu};
use super::server::{Waits, bring};
use super::steps::Steps;
use crate::live::Managed;
use crate::plan::compare::{Remedy, RunAction, RunRemedy};
use crate::plan::step::{Action, Phase, Step, StepId};
use crate::resource::{Kind, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// Adds the steps that change running servers.
pub(super) fn switch<'a>(basis: &'a Basis<'a>, steps: &mut Steps<'a>) {
    // Clients reach new routes only when the servers behind them are verified; until then the previous gateway serves.
    let last = behind_the_rest(basis);
    let (last_stops, first_stops) = stops(basis, &last);
    let ends = Ends { basis, phase: Phase::Switch };
    let mut stopped = ends.stop(&first_stops, |_| Vec::new(), steps);
    stopped.extend(ends.dismantle_stopped(steps));
    write_files(basis, steps);
    let reloaded = define(basis, &stopped, steps);
    let first_on_gpu = first_on_gpu(basis);
    let order = by_need(basis, &first_on_gpu);
    let (last, first): (Vec<&ResourceId>, Vec<&ResourceId>) = order.into_iter().partition(|id| last.contains(id));
    let mut waits = Waits { basis, stopped, reloaded, first_on_gpu, verified: Vec::new() };
    for id in first {
        bring(&waits, id, steps);
    }
    models(basis, Phase::Switch, steps);
    waits.verified = verified(steps);
    waits.stopped.extend(ends.stop(&last_stops, |_| waits.verified.clone(), steps));
    for id in last {
        bring(&waits, id, steps);
    }
}

/// Returns the servers that stop: those that serve clients until all others are verified, and the rest.
fn stops<'a>(basis: &Basis<'a>, last: &BTreeSet<&ResourceId>) -> (Vec<&'a Managed>, Vec<&'a Managed>) {
    let stops = basis.remedies.values().filter_map(|remedy| match remedy {
        Remedy::Remove { managed, up: true } | Remedy::Run(RunRemedy { go: RunAction::Restart(managed), .. }) => {
            Some(managed)
        }
        _ => None,
    });
    let must_stop = stops.filter(|managed| {
        let id = managed.id();
        let restarts = basis.desired.resources.contains_key(id) && !basis.restarts_in_one_call(id);
        basis.stop_order.stop.contains(id) || restarts
    });
    let (last_stops, mut first_stops): (Vec<&Managed>, Vec<&Managed>) =
        must_stop.partition(|managed| serves_on(basis, last, managed.id()));
    // A sleeping server has already released its memory.
    let asleep = |id: &ResourceId| basis.observed.run(id).is_some_and(|live| live.asleep);
    first_stops.retain(|managed| !(basis.stop_order.sleep.contains(managed.id()) && asleep(managed.id())));
    (last_stops, first_stops)
}

/// Returns whether a server that stops can serve until all others are verified: only those that come `last` wait for it,
/// and its definition stays until then.
fn serves_on(basis: &Basis<'_>, last: &BTreeSet<&ResourceId>, id: &ResourceId) -> bool {
    let waiting = basis.stop_order.waits.iter().filter(|(_, waits)| waits.contains(id)).map(|(id, _)| id);
    let mut takers = waiting.chain(Some(id).filter(|id| basis.runs.contains_key(id))).peekable();
    let rewritten = basis.has_one_definition(id) && basis.runs.get(id).is_some_and(|remedy| remedy.write);
    takers.peek().is_some() && takers.all(|id| last.contains(id)) && !rewritten
}

fn write_files(basis: &Basis<'_>, steps: &mut Steps<'_>) {
    for (id, _) in basis.remedies.iter().filter(|(_, remedy)| ***remedy == Remedy::Write) {
        let step = steps.add(Phase::Switch, Action::WriteFile((*id).clone()), Vec::new());
        steps.set_ready(id, step);
    }
}

/// Adds the steps that write definitions and have their managers load them; returns for each kind the one that loads.
fn define(basis: &Basis<'_>, stopped: &BTreeMap<ResourceId, StepId>, steps: &mut Steps<'_>) -> BTreeMap<Kind, StepId> {
    let mut written: BTreeMap<Kind, Vec<StepId>> = BTreeMap::new();
    for (id, remedy) in &basis.runs {
        let has_one = basis.has_one_definition(id);
        if has_one && remedy.write {
            // What it was made of before may stand where its file belongs, and goes with the stop.
            let own_stop = stopped.get(*id).copied().into_iter().collect();
            let step = steps.add(Phase::Switch, Action::Define((*id).clone()), own_stop);
            written.entry(id.kind).or_default().push(step);
        } else if remedy.reload && (has_one || (basis.hands_off(id) && remedy.keeps_process())) {
            written.entry(id.kind).or_default();
        }
    }
    let reload = |(kind, written)| (kind, steps.add(Phase::Switch, Action::ReloadManager(kind), written));
    written.into_iter().map(reload).collect()
}

/// Returns the steps so far that prove that servers and models are as declared.
fn verified(steps: &Steps<'_>) -> Vec<StepId> {
    let proves = |step: &&Step| {
        let proof = matches!(step.action, Action::AwaitHealthy(_) | Action::PullModel(_) | Action::LoadModel(_));
        proof && step.phase == Phase::Switch
    };
    steps.list().iter().filter(proves).map(|step| step.id).collect()
}
