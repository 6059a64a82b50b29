//! Desired against observed: the changes that are needed, and the ordered steps that make them.
//!
//! The heart, and pure. [`plan`] decides everything; whoever walks the steps decides nothing. It happens in two
//! movements: `compare` finds what differs, resource by resource, and says why; `order` turns the differences into steps
//! that may be walked in any order that respects `after`.

mod canary;
mod cause;
mod change;
mod compare;
mod contention;
mod foresee;
mod order;
mod replace;
mod step;
pub mod text;

pub use canary::{CanarySkipped, Rollout, Trial};
pub use cause::{Cause, FieldChange};
pub use change::{Change, Consequence, Disruption, Refusal, RefusalKind, Verb};
pub use foresee::{foresee, foresee_all};
pub use step::{Action, Arguments, Phase, Step, StepId};

use crate::live::Observation;
use crate::resolve::{Desired, PreviousRoutes};
use crate::resource::{Digest, Fields, GpuClaim, Gpus, Resource, ResourceId, Seconds};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What earlier generations left to know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Past {
    /// The fields of every resource of the committed generation.
    pub committed: BTreeMap<ResourceId, Fields>,
    /// What each resource of earlier generations needed: the order in which undeclared servers stop.
    pub needs: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    /// The ports of servers of earlier generations.
    pub ports: BTreeMap<ResourceId, Vec<u16>>,
    /// The host memory that servers of earlier generations may take, in bytes.
    pub memory: BTreeMap<ResourceId, u64>,
    /// The GPUs of servers of earlier generations.
    #[serde(default)]
    pub gpus: BTreeMap<ResourceId, Gpus>,
    /// The claims of servers of earlier generations on the memory of their GPUs.
    #[serde(default)]
    pub gpu_claims: BTreeMap<ResourceId, GpuClaim>,
    /// The servers of earlier generations that can sleep.
    #[serde(default)]
    pub sleep: BTreeSet<ResourceId>,
    /// How long servers took from start to healthy when they last did.
    pub start_times: BTreeMap<ResourceId, Seconds>,
    /// Artifacts, environments and models that the generations to which one can go back still need.
    pub keep: BTreeSet<ResourceId>,
    /// Of those, what only the oldest of them needs: a further generation takes its turn.
    #[serde(default)]
    pub oldest: BTreeSet<ResourceId>,
    /// The content that each model of the committed generation had.
    #[serde(default)]
    pub contents: BTreeMap<ResourceId, Digest>,
    /// The routes of the committed generation.
    #[serde(default)]
    pub previous: PreviousRoutes,
    /// Whether what counts as committed is only a canary on trial.
    #[serde(default)]
    pub trial: bool,
    /// What calls on resources of earlier generations take.
    #[serde(default)]
    pub arguments: BTreeMap<ResourceId, Arguments>,
}

impl Past {
    /// Takes note of what there may be of earlier generations.
    pub fn learn<'a>(&mut self, resources: impl IntoIterator<Item = &'a Resource>) {
        for resource in resources {
            self.needs.insert(resource.id.clone(), resource.needs.clone());
            self.arguments.insert(resource.id.clone(), Arguments::of(resource));
            if let Some(run) = resource.run() {
                self.ports.insert(resource.id.clone(), run.ports.clone());
                self.memory.insert(resource.id.clone(), run.memory.map_or(0, |memory| memory.0));
                self.gpus.insert(resource.id.clone(), run.gpus.clone());
                match run.gpu_claim {
                    Some(claim) => drop(self.gpu_claims.insert(resource.id.clone(), claim)),
                    None => drop(self.gpu_claims.remove(&resource.id)),
                }
                if run.sleep.is_some() {
                    self.sleep.insert(resource.id.clone());
                } else {
                    self.sleep.remove(&resource.id);
                }
            }
        }
    }
}

/// How many things are few.
const FEW: usize = 3;

/// What would be done, why, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The stack's name.
    pub stack: String,
    /// What differs, one entry for each resource that does, in the order of their names.
    pub changes: Vec<Change>,
    /// The steps that make the changes.
    pub steps: Vec<Step>,
    /// How many resources are as they should be.
    pub unchanged: usize,
    /// Why the plan must not be walked; empty when it may be.
    pub refusals: Vec<Refusal>,
    /// How a change of routes begins, where it is to begin with one model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What is wished for until that one has been tried.
    #[serde(skip)]
    pub first: Option<Box<Desired>>,
}

impl Plan {
    /// Returns how much would be removed of how much there is, where that is more than half: a manifest that lost most of
    /// itself is more often a mistake than a wish. A few things are no matter of proportion.
    #[must_use]
    pub fn removes_most(&self) -> Option<(usize, usize)> {
        let there = self.unchanged + self.changes.iter().filter(|change| change.verb != Verb::Create).count();
        let removed = self.changes.iter().filter(|change| change.verb == Verb::Remove && !change.left).count();
        (removed > FEW && removed * 2 > there).then_some((removed, there))
    }

    /// Returns the part of the plan that rehearses what will take another's place, with all that it needs, and stops there.
    #[must_use]
    pub fn rehearsal(&self) -> Self {
        let mut needed: BTreeSet<StepId> = BTreeSet::new();
        for step in self.steps.iter().rev() {
            if matches!(step.action, Action::Rehearse(_)) || needed.contains(&step.id) {
                needed.insert(step.id);
                needed.extend(&step.after);
            }
        }
        // What would have to start or stop for it cannot be rehearsed out of everybody's reach.
        let disturbs = |step: &Step| {
            let action = &step.action;
            let starts = matches!(action, Action::Start(_) | Action::Restart(_) | Action::Wake(_) | Action::HandOff(_));
            let replaces = matches!(action, Action::SetAside(_) | Action::Discard(_) | Action::Restore { .. });
            starts || replaces || matches!(action, Action::Stop(_) | Action::Sleep(_))
        };
        if self.steps.iter().any(|step| needed.contains(&step.id) && disturbs(step)) {
            needed.clear();
        }
        let part = |step: &&Step| step.phase == Phase::Stage || needed.contains(&step.id);
        Self { steps: self.steps.iter().filter(part).cloned().collect(), ..self.clone() }
    }

    /// Returns whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Plans the way from `observed` to `desired`, in two where one model's route is to be tried first.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    canary::in_two(at_once(desired, observed, past), desired, observed, past)
}

fn at_once(desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    let compare::Comparison { changes, unchanged, mut refusals } = compare::compare(desired, observed, past);
    refusals.extend(contention::refuse(desired, observed, past, &changes));
    refusals.sort();
    let steps = if refusals.is_empty() { order::order(desired, observed, past, &changes) } else { Vec::new() };
    Plan {
        stack: desired.stack.clone(),
        changes: changes.into_iter().map(|change| change.change).collect(),
        steps,
        unchanged,
        refusals,
        rollout: None,
        first: None,
    }
}
