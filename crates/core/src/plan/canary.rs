//! The whole plan: at once, or in two parts where one model's route changes first, and the others once test requests
//! have succeeded.
//!
//! Both parts are planned before anything changes: the first against the observed machine, the second against the
//! machine expected after the first.

use super::at_once::at_once;
use super::foresee::foresee_all;
use super::part::PartCall;
use super::past::Past;
use super::result::Plan;
use super::rollout::{CanarySkipped, Rollout, Trial};
use super::step::{Action, Arguments, Phase, Step, StepId};
use crate::live::{Observation, RunState};
use crate::resolve::{Desired, First};
use crate::resource::{Fingerprint, Health, ResourceId};
use std::collections::BTreeSet;

/// Plans the way from `observed` to `desired`, in two parts if a canary route is tried first.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    in_two(at_once(desired, observed, past), desired, observed, past)
}

/// Returns a plan in two parts, where the routes change and the canary's can be tried.
fn in_two(direct: Plan, desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    let (Some(canary), Some((gateway, _))) = (&desired.canary, desired.gateway()) else { return direct };
    // Where the gateway matches the manifest already, there is nothing to try.
    let changes = |step: &Step| step.phase == Phase::Switch && step.action.on() == Some(gateway);
    if !direct.refusals.is_empty() || !direct.steps.iter().any(changes) {
        return direct;
    }
    let with_all = |direct: Plan, why: CanarySkipped| Plan {
        rollout: Some(Rollout::WithAll { model: canary.model.clone(), why }),
        ..direct
    };
    let Some((first, beginning)) = begin(desired, observed, past) else {
        return match desired.canary_first(&past.previous, &BTreeSet::new()) {
            First::Others => with_all(direct, CanarySkipped::Same),
            First::Unknown => with_all(direct, CanarySkipped::Unknown),
            First::Nothing | First::Revision(_) => direct,
        };
    };
    if is_unhealthy(observed, past, gateway) {
        return with_all(direct, CanarySkipped::Unhealthy);
    }
    let trial =
        Trial { gateway: gateway.clone(), model: canary.model.clone(), mode: canary.mode, permanent: canary.permanent };
    join(direct, first, beginning, trial, desired, observed, past)
}

/// Returns the desired state of the first part, and the plan that leads to it.
fn begin(desired: &Desired, observed: &Observation, past: &Past) -> Option<(Box<Desired>, Plan)> {
    let mut stopped = BTreeSet::new();
    loop {
        let First::Revision(first) = desired.canary_first(&past.previous, &stopped) else { return None };
        let beginning = at_once(&first, observed, past);
        let stops = beginning.steps.iter().filter_map(|step| match &step.action {
            Action::Stop(managed) | Action::Sleep(managed) if step.phase == Phase::Switch => Some(managed.id().clone()),
            _ => None,
        });
        let more: BTreeSet<ResourceId> = stops.filter(|id| !desired.resources.contains_key(id)).collect();
        // A server that must stop first takes its models' routes with it.
        if more.is_subset(&stopped) {
            return Some((first, beginning));
        }
        stopped.extend(more);
    }
}

/// Returns whether the committed gateway is unhealthy: nothing can be tried through it.
fn is_unhealthy(observed: &Observation, past: &Past, gateway: &ResourceId) -> bool {
    let committed = past.committed.get(gateway).map(Fingerprint::of);
    observed.run(gateway).is_some_and(|live| {
        let is_committed = live.definition.as_ref().map(|claim| &claim.fingerprint) == committed.as_ref();
        let well = live.phase == RunState::Running && live.health.as_ref().is_none_or(Health::is_healthy);
        is_committed && !well
    })
}

/// Combines the steps before a trial, the trial, and the steps after it.
fn join(
    direct: Plan,
    first: Box<Desired>,
    beginning: Plan,
    trial: Trial,
    desired: &Desired,
    observed: &Observation,
    past: &Past,
) -> Plan {
    if !beginning.refusals.is_empty() {
        return Plan { steps: Vec::new(), refusals: beginning.refusals, ..direct };
    }
    // A server verified by the trial has its predecessor pruned at the end all the same.
    let (later, mut steps): (Vec<Step>, Vec<Step>) =
        beginning.steps.into_iter().partition(|step| step.phase == Phase::Prune);
    for step in steps.iter_mut().filter(|step| step.phase == Phase::Switch) {
        step.phase = Phase::Canary;
    }
    let before = steps.iter().filter(|step| step.phase == Phase::Canary).map(|step| step.id).collect();
    let begun = Plan { steps: steps.clone(), first: Some(first), ..direct };
    let rest = rest(begun.first.as_deref().unwrap_or(desired), desired, &foresee_all(desired, observed, &begun), past);
    if !rest.refusals.is_empty() {
        return Plan { steps: Vec::new(), refusals: rest.refusals, first: None, ..begun };
    }
    let gateway = trial.gateway.clone();
    let again = |action: &Action| match action {
        Action::Part(PartCall::OpenGate(instance)) if instance.server == gateway => Some(false),
        Action::Part(PartCall::StartSocket { server }) if *server == gateway => Some(true),
        Action::Restart(managed) if *managed.id() == gateway => Some(true),
        Action::Start(id) if *id == gateway => Some(true),
        _ => None,
    };
    let again = rest.steps.iter().find_map(|step| again(&step.action));
    let id = StepId(steps.len());
    let action = Action::Try(trial.clone());
    steps.push(Step {
        id,
        phase: Phase::Canary,
        action,
        arguments: Arguments::default(),
        otherwise: Vec::new(),
        after: before,
    });
    // What was replaced before the trial is cleared away with the rest.
    let replaced = later.into_iter().filter(|step| {
        let removes = |action: &Action| matches!(action, Action::RemovePrevious(_) | Action::RemoveAside { .. });
        let again = |other: &Step| removes(&other.action) && other.action.on() == step.action.on();
        removes(&step.action) && !rest.steps.iter().any(again)
    });
    let replaced: Vec<Step> = replaced.collect();
    let begins = steps.len();
    let kept = rest.steps.iter().filter(|step| step.phase != Phase::Prune).count();
    let moved = |id: StepId| StepId(id.0 + begins + if id.0 < kept { 0 } else { replaced.len() });
    let replaced_ids = || (0..replaced.len()).map(|index| StepId(begins + kept + index));
    let rest = rest.steps.into_iter().map(|step| {
        // An image can be removed once no container uses it.
        let replaced = replaced_ids().filter(|_| matches!(step.action, Action::RemoveImage(_)));
        let after = step.after.iter().map(|id| moved(*id)).chain(replaced).collect();
        Step { id: moved(step.id), after, ..step }
    });
    let replaced = replaced_ids().zip(&replaced).map(|(id, step)| Step { id, after: Vec::new(), ..step.clone() });
    steps.extend(rest.chain(replaced));
    steps.sort_by_key(|step| step.id);
    Plan { steps, rollout: Some(Rollout::WithOne { trial, again }), ..begun }
}

/// Plans the second part, after a passed trial, as if `first` were committed.
fn rest(first: &Desired, desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    let mut past = past.clone();
    past.trial = true;
    past.committed = first.resources.iter().map(|(id, resource)| (id.clone(), resource.fields())).collect();
    past.learn(first.resources.values());
    at_once(desired, observed, &past)
}
