//! The result of planning: the changes, their causes and the ordered steps.

use super::change::{Change, Refusal, Undetermined, Verb};
use super::kept::Kept;
use super::part::{ManagedInstance, PartCall};
use super::rollout::Rollout;
use super::step::{Action, Phase, Step, StepId};
use super::warn::Warning;
use crate::resolve::Desired;
use crate::resource::ResourceId;
use serde::Serialize;
use std::collections::BTreeSet;

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
    /// The resources of which it is unknown whether they match the manifest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undetermined: Vec<Undetermined>,
    /// The conflicts that block the plan; empty if it may be executed.
    pub refusals: Vec<Refusal>,
    /// Warnings; they block nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What stays although the stack is taken down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
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
        let there = self.unchanged
            + self.undetermined.len()
            + self.changes.iter().filter(|change| change.verb != Verb::Create).count();
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

    /// Returns the part of the plan that undoes a rehearsal: that ends and removes the instances which it defined, and
    /// writes or removes the files which it wrote. Whatever else there is to correct stays as it is.
    #[must_use]
    pub fn undoing(&self, rehearsal: &Self) -> Self {
        let written = |id: &ResourceId| {
            rehearsal.steps.iter().any(|step| matches!(&step.action, Action::WriteFile(file) if file == id))
        };
        let defined = |instance: &ManagedInstance| {
            let (server, number) = (instance.server.id(), instance.number);
            let defines = |action: &Action| {
                let Action::Part(PartCall::Define(other)) = action else { return false };
                other.server == *server && other.number == number
            };
            rehearsal.steps.iter().any(|step| defines(&step.action))
        };
        let mut undone: BTreeSet<StepId> = BTreeSet::new();
        for step in &self.steps {
            let undoes = match &step.action {
                Action::WriteFile(id) => written(id),
                Action::RemoveFile(managed) => written(managed.id()),
                Action::Part(PartCall::End { instance, .. } | PartCall::Remove(instance)) => defined(instance),
                Action::ReloadManager(_) => step.after.iter().any(|id| undone.contains(id)),
                _ => false,
            };
            undone.extend(undoes.then_some(step.id));
        }
        let steps = self.steps.iter().filter(|step| undone.contains(&step.id)).cloned();
        let after = |step: &Step| step.after.iter().copied().filter(|id| undone.contains(id)).collect();
        Self { steps: steps.map(|step| Step { after: after(&step), ..step }).collect(), ..self.clone() }
    }

    /// Returns whether the machine differs from the manifest, or may.
    #[must_use]
    pub const fn may_differ(&self) -> bool {
        !self.changes.is_empty() || !self.undetermined.is_empty()
    }

    /// Returns whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
