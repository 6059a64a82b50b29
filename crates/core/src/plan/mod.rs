//! The planner: compares desired with observed, and produces the changes and the ordered steps that make them.
//!
//! It is pure, and it makes every decision; execution only follows. `compare` finds the differences and their causes,
//! resource by resource; `order` turns the differences into steps that may run in any order that respects `after`.

mod canary;
mod cause;
mod change;
mod compare;
mod contention;
mod ends;
mod foresee;
mod order;
mod parts;
mod replace;
mod step;
pub mod text;
mod warn;

pub use canary::{CanarySkipped, Rollout, Trial};
pub use cause::{Cause, FieldChange};
pub use change::{Change, Consequence, Disruption, Refusal, RefusalKind, Verb};
pub use foresee::{foresee, foresee_all, foresee_otherwise};
pub use parts::{Instance, ManagedInstance, PartCall};
pub use step::{Action, Arguments, Phase, Step, StepId};
pub use warn::{Warning, end_at_logout, warnings};

use crate::live::Observation;
use crate::resolve::{Desired, PreviousRoutes};
use crate::resource::{Digest, Fields, GpuClaim, Gpus, Resource, ResourceId, Seconds};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Facts known from earlier generations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Past {
    /// The fields of every resource of the committed generation.
    pub committed: BTreeMap<ResourceId, Fields>,
    /// The dependencies of each resource of earlier generations: the order in which undeclared servers stop.
    pub needs: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    /// The ports of servers of earlier generations.
    pub ports: BTreeMap<ResourceId, Vec<u16>>,
    /// The host memory limits of servers of earlier generations, in bytes.
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
    /// The last measured time from start to healthy of each server.
    pub start_times: BTreeMap<ResourceId, Seconds>,
    /// Artifacts, environments and models that are retained for a rollback.
    pub keep: BTreeSet<ResourceId>,
    /// The retained resources that expire with the next generation.
    #[serde(default)]
    pub oldest: BTreeSet<ResourceId>,
    /// The content of each model of the committed generation.
    #[serde(default)]
    pub contents: BTreeMap<ResourceId, Digest>,
    /// The routes of the committed generation.
    #[serde(default)]
    pub previous: PreviousRoutes,
    /// True if what counts as committed is only a canary on trial.
    #[serde(default)]
    pub trial: bool,
    /// The arguments of calls on resources of earlier generations.
    #[serde(default)]
    pub arguments: BTreeMap<ResourceId, Arguments>,
}

impl Past {
    /// Adds the facts of earlier generations.
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

/// The number of removals that never counts as a mass deletion.
const FEW: usize = 3;

/// A plan: the changes, their causes and the ordered steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The stack's name.
    pub stack: String,
    /// The differing resources, one entry each, in the order of their names.
    pub changes: Vec<Change>,
    /// The steps that make the changes.
    pub steps: Vec<Step>,
    /// The number of resources that match the manifest.
    pub unchanged: usize,
    /// The conflicts that block the plan; empty if it may be executed.
    pub refusals: Vec<Refusal>,
    /// Warnings; they block nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The start of a canary rollout, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The desired state until the trial has passed.
    #[serde(skip)]
    pub first: Option<Box<Desired>>,
}

impl Plan {
    /// Returns the number of removals and of managed resources if more than half would be removed: a manifest that
    /// lost most of its content is probably a mistake. A few removals never count.
    #[must_use]
    pub fn removes_most(&self) -> Option<(usize, usize)> {
        let there = self.unchanged + self.changes.iter().filter(|change| change.verb != Verb::Create).count();
        let removed = self.changes.iter().filter(|change| change.verb == Verb::Remove && !change.left).count();
        (removed > FEW && removed * 2 > there).then_some((removed, there))
    }

    /// Returns the part of the plan that verifies a successor off-line, with all that it needs, and stops there.
    #[must_use]
    pub fn rehearsal(&self) -> Self {
        let mut needed: BTreeSet<StepId> = BTreeSet::new();
        for step in self.steps.iter().rev() {
            if matches!(step.action, Action::Part(PartCall::Rehearse(_))) || needed.contains(&step.id) {
                needed.insert(step.id);
                needed.extend(&step.after);
            }
        }
        // A successor that first needs other servers started or stopped cannot be verified off-line.
        let disturbs = |step: &Step| {
            let action = &step.action;
            let starts = matches!(action, Action::Start(_) | Action::Restart(_) | Action::Wake(_));
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

/// Plans the way from `observed` to `desired`, in two parts if a canary route is tried first.
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
        warnings: warnings(desired, observed),
        rollout: None,
        first: None,
    }
}
