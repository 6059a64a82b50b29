//! The whole plan: at once, or in two parts where one model's route changes first, and the others once test requests
//! have succeeded.
//!
//! Both parts are planned before anything changes: the first against the observed machine, the second against the
//! machine expected after the first.

use super::at_once::at_once;
use super::change::Change;
use super::foresee::foresee_all;
use super::part::PartCall;
use super::past::Past;
use super::result::Plan;
use super::rollout::{CanarySkipped, Rollout, Trial};
use super::step::{Action, Arguments, Phase, Step, StepId};
use crate::live::{Observation, RunState};
use crate::resolve::{Canary, Desired, First};
use crate::resource::{Fingerprint, Health, ResourceId};
use std::collections::BTreeSet;

/// Plans the way from `observed` to `desired`, in two parts if a canary route is tried first.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    States { desired, observed, past }.plan()
}

/// The states that a plan is made from.
#[derive(Clone, Copy)]
struct States<'a> {
    desired: &'a Desired,
    observed: &'a Observation,
    past: &'a Past,
}

/// The first part of a plan.
struct Beginning {
    /// The desired state that it leads to.
    first: Box<Desired>,
    plan: Plan,
}

impl States<'_> {
    fn plan(self) -> Plan {
        let Self { desired, observed, past } = self;
        let direct = at_once(desired, observed, past);
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
        let Some(beginning) = self.begin() else {
            return match desired.canary_first(&past.previous, &BTreeSet::new()) {
                First::Others => with_all(direct, CanarySkipped::Same),
                First::Unknown => with_all(direct, CanarySkipped::Unknown),
                First::Nothing | First::Revision(_) => direct,
            };
        };
        if self.is_unhealthy(gateway) {
            return with_all(direct, CanarySkipped::Unhealthy);
        }
        let Canary { model, mode, duration } = canary.clone();
        self.in_two(direct, beginning, Trial { gateway: gateway.clone(), model, mode, duration })
    }

    /// Returns the first part, if there is one.
    fn begin(self) -> Option<Beginning> {
        let Self { desired, observed, past } = self;
        let mut stopped = BTreeSet::new();
        loop {
            let First::Revision(first) = desired.canary_first(&past.previous, &stopped) else { return None };
            let plan = at_once(&first, observed, past);
            let stops = plan.steps.iter().filter_map(|step| match &step.action {
                Action::Stop(managed) | Action::Sleep(managed) if step.phase == Phase::Switch => {
                    Some(managed.id().clone())
                }
                _ => None,
            });
            let more: BTreeSet<ResourceId> = stops.filter(|id| !desired.resources.contains_key(id)).collect();
            // A server that must stop first takes its models' routes with it.
            if more.is_subset(&stopped) {
                return Some(Beginning { first, plan });
            }
            stopped.extend(more);
        }
    }

    /// Returns whether the committed gateway is unhealthy: nothing can be tried through it.
    fn is_unhealthy(self, gateway: &ResourceId) -> bool {
        let committed = self.past.committed.get(gateway).map(Fingerprint::of);
        self.observed.run(gateway).is_some_and(|live| {
            let is_committed = live.definition.as_ref().map(|claim| &claim.fingerprint) == committed.as_ref();
            let healthy = live.phase == RunState::Running && live.health.as_ref().is_none_or(Health::is_healthy);
            is_committed && !healthy
        })
    }

    /// Returns the plan of the steps before a trial, the trial, and the steps after it.
    fn in_two(self, direct: Plan, beginning: Beginning, trial: Trial) -> Plan {
        let Beginning { first, plan } = beginning;
        if !plan.refusals.is_empty() {
            return Plan { steps: Vec::new(), refusals: plan.refusals, ..direct };
        }
        // A server verified by the trial has its predecessor pruned at the end all the same.
        let (later, mut steps): (Vec<Step>, Vec<Step>) =
            plan.steps.into_iter().partition(|step| step.phase == Phase::Prune);
        for step in steps.iter_mut().filter(|step| step.phase == Phase::Switch) {
            step.phase = Phase::Canary;
        }
        let begun = Plan { steps: steps.clone(), first: Some(first), ..direct };
        let first = begun.first.as_deref().unwrap_or(self.desired);
        let rest = self.rest(first, &foresee_all(self.desired, self.observed, &begun));
        if !rest.refusals.is_empty() {
            return Plan { steps: Vec::new(), refusals: rest.refusals, first: None, ..begun };
        }
        let again = rest.steps.iter().find_map(|step| restarts(&step.action, &trial.gateway));
        steps.push(trial_step(&steps, trial.clone()));
        let replaced = left_over(later, &rest.steps);
        append(&mut steps, rest.steps, &replaced);
        let mut changes = begun.changes.clone();
        for change in changes.iter_mut().filter(|change| change.left) {
            change.left = !is_written(&steps, change);
        }
        Plan { steps, changes, rollout: Some(Rollout::WithOne { trial, again }), ..begun }
    }

    /// Plans the second part, after a passed trial, as if `first` were committed and the machine as it is then.
    fn rest(self, first: &Desired, observed: &Observation) -> Plan {
        let mut past = self.past.clone();
        past.trial = true;
        past.committed = first.resources.iter().map(|(id, resource)| (id.clone(), resource.fields())).collect();
        past.learn(first.resources.values());
        at_once(self.desired, observed, &past)
    }
}

/// Returns whether what was only to be reported is written on the way: a file that is as declared but for an edit by hand
/// has another content while the canary is tried.
fn is_written(steps: &[Step], change: &Change) -> bool {
    steps.iter().any(|step| matches!(&step.action, Action::WriteFile(id) if *id == change.on))
}

/// Returns whether a call that changes the gateway restarts it; nothing where it does not change it.
fn restarts(action: &Action, gateway: &ResourceId) -> Option<bool> {
    match action {
        Action::Part(PartCall::OpenGate(instance)) if instance.server == *gateway => Some(false),
        Action::Part(PartCall::StartSocket { server }) if server == gateway => Some(true),
        Action::Restart(managed) if managed.id() == gateway => Some(true),
        Action::Start(id) if id == gateway => Some(true),
        _ => None,
    }
}

/// Returns the trial, after all steps of the canary phase.
fn trial_step(steps: &[Step], trial: Trial) -> Step {
    Step {
        id: StepId(steps.len()),
        phase: Phase::Canary,
        action: Action::Try(trial),
        arguments: Arguments::default(),
        otherwise: Vec::new(),
        after: steps.iter().filter(|step| step.phase == Phase::Canary).map(|step| step.id).collect(),
    }
}

/// Returns the steps that clear away what was replaced before the trial, where none of `rest` does.
fn left_over(later: Vec<Step>, rest: &[Step]) -> Vec<Step> {
    let removes = |action: &Action| matches!(action, Action::RemovePrevious(_) | Action::RemoveAside { .. });
    let is_left_over = |step: &Step| {
        let again = |other: &Step| removes(&other.action) && other.action.on() == step.action.on();
        removes(&step.action) && !rest.iter().any(again)
    };
    later.into_iter().filter(is_left_over).collect()
}

/// Adds the second part behind the first, with the removal of what was replaced at the begin of its prune phase.
fn append(steps: &mut Vec<Step>, rest: Vec<Step>, replaced: &[Step]) {
    let begins = steps.len();
    let kept = rest.iter().filter(|step| step.phase != Phase::Prune).count();
    let moved = |id: StepId| StepId(id.0 + begins + if id.0 < kept { 0 } else { replaced.len() });
    let replaced_ids = || (0..replaced.len()).map(|index| StepId(begins + kept + index));
    let rest = rest.into_iter().map(|step| {
        // An image can be removed once no container uses it.
        let replaced = replaced_ids().filter(|_| matches!(step.action, Action::RemoveImage(_)));
        let after = step.after.iter().map(|id| moved(*id)).chain(replaced).collect();
        Step { id: moved(step.id), after, ..step }
    });
    let replaced = replaced_ids().zip(replaced).map(|(id, step)| Step { id, after: Vec::new(), ..step.clone() });
    steps.extend(rest.chain(replaced));
    steps.sort_by_key(|step| step.id);
}
