//! A change of routes in two: that of one model first, and the rest once requests have shown that it is right.
//!
//! Both are planned before anything is touched: the first against the machine as it is, the rest against the machine as it
//! will be then.

use super::{Action, Past, Phase, Plan, Step, StepId, at_once, foresee_all};
use crate::desired::{Desired, First, Former};
use crate::manifest::Mode;
use crate::observed::Observed;
use crate::resource::{ResourceId, Seconds};
use serde::Serialize;

/// The requests that must be answered before the other routes change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Trial {
    /// The gateway that is asked.
    pub gateway: ResourceId,
    /// The model that it is asked for.
    pub model: String,
    /// What it is asked to do.
    pub mode: Mode,
    /// How long it is asked.
    pub lasting: Seconds,
}

/// What becomes of a change of routes that is to begin with one model's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "begins")]
pub enum Rollout {
    /// It begins with that, which is tried.
    WithOne(Trial),
    /// That one does not change, so there is nothing to try, and the others change at once.
    WithAll {
        /// The model.
        model: String,
    },
}

/// Returns a plan in two, where the routes change and the first of them can be tried.
pub(super) fn in_two(direct: Plan, desired: &Desired, observed: &Observed, past: &Past) -> Plan {
    let (Some(canary), Some((gateway, _))) = (&desired.canary, desired.gateway()) else { return direct };
    // Where the gateway is as it should be already, an apply that was cut off had come past the trial.
    let changes = |step: &Step| step.phase == Phase::Switch && step.action.on() == Some(gateway);
    if !direct.refusals.is_empty() || !direct.steps.iter().any(changes) {
        return direct;
    }
    let first = match desired.canary_first(Former { files: &past.files, ports: &past.ports }) {
        First::Nothing => return direct,
        First::Others => {
            let model = canary.model.clone();
            return Plan { rollout: Some(Rollout::WithAll { model }), ..direct };
        }
        First::Wish(first) => first,
    };
    let beginning = at_once(&first, observed, past);
    if !beginning.refusals.is_empty() {
        return Plan { steps: Vec::new(), refusals: beginning.refusals, ..direct };
    }
    let trial =
        Trial { gateway: gateway.clone(), model: canary.model.clone(), mode: canary.mode, lasting: canary.lasting };
    join(direct, first, beginning.steps, trial, |observed| at_once(desired, observed, past), observed)
}

/// Puts together what comes before a trial, the trial, and what `rest` plans after it.
fn join(
    direct: Plan,
    first: Box<Desired>,
    beginning: Vec<Step>,
    trial: Trial,
    rest: impl Fn(&Observed) -> Plan,
    observed: &Observed,
) -> Plan {
    let mut steps: Vec<Step> = beginning.into_iter().filter(|step| step.phase != Phase::Prune).collect();
    for step in steps.iter_mut().filter(|step| step.phase == Phase::Switch) {
        step.phase = Phase::Canary;
    }
    let before = steps.iter().filter(|step| step.phase == Phase::Canary).map(|step| step.id).collect();
    let id = StepId(steps.len());
    let begun =
        Plan { steps: steps.clone(), first: Some(first), rollout: Some(Rollout::WithOne(trial.clone())), ..direct };
    steps.push(Step { id, phase: Phase::Canary, action: Action::Try(trial), after: before });
    let Some(first) = begun.first.as_deref() else { return begun };
    let rest = rest(&foresee_all(first, observed, &begun));
    let later = |id: StepId| StepId(id.0 + steps.len());
    let rest_steps: Vec<Step> = rest
        .steps
        .iter()
        .map(|step| Step {
            id: later(step.id),
            after: step.after.iter().map(|id| later(*id)).collect(),
            ..step.clone()
        })
        .collect();
    if !rest.refusals.is_empty() {
        return Plan { steps: Vec::new(), refusals: rest.refusals, ..begun };
    }
    steps.extend(rest_steps);
    Plan { steps, ..begun }
}
