//! The rest of a plan that takes a stack down: what goes beside its resources, and what stays.
//!
//! Records go last, once nothing that they are about is left. What was not observed is not removed.

use super::kept::Kept;
use super::past::Past;
use super::result::Plan;
use super::step::{Action, Arguments, Phase, Step, StepId};
use crate::live::{Live, Observation, Presence, Remnant};
use crate::resource::{Prerequisite, Resource, ResourceId, Spec};
use crate::targets;
use std::collections::BTreeSet;

impl Plan {
    /// Adds what goes with the stack beside its resources, and what stays. `inventory` is what any generation may have
    /// created. With `purge`, records and unfinished downloads go too.
    #[must_use]
    pub fn taking_down(mut self, observed: &Observation, past: &Past, inventory: &[Resource], purge: bool) -> Self {
        self.kept = kept(&self, observed, inventory, purge);
        if !self.refusals.is_empty() {
            return self;
        }
        let removed: BTreeSet<&ResourceId> = self.steps.iter().filter_map(|step| removed(&step.action)).collect();
        let goes = |remnant: &&Remnant| match remnant {
            Remnant::EmptyFolder { .. } => true,
            // Its record goes with a model file, and another stack may need both.
            Remnant::DigestRecord { artifact, .. } => {
                purge && !removed.contains(artifact) && !past.keep.contains(artifact)
            }
            Remnant::Download { artifact, .. } => purge && !past.keep.contains(artifact),
            _ => purge,
        };
        let gone: Vec<Remnant> = observed.remnants.iter().filter(goes).cloned().collect();
        let first = self.steps.len();
        for remnant in gone {
            let id = StepId(self.steps.len());
            let is_last = matches!(remnant, Remnant::History { .. });
            let after = if is_last { (first..id.0).map(StepId).collect() } else { Vec::new() };
            let (action, arguments, otherwise) = (Action::Purge(remnant), Arguments::default(), Vec::new());
            self.steps.push(Step { id, phase: Phase::Purge, action, arguments, otherwise, after });
        }
        self
    }
}

/// Returns the resource that a step removes for good, with its record.
const fn removed(action: &Action) -> Option<&ResourceId> {
    match action {
        Action::RemoveArtifact(managed) | Action::RemoveModel(managed) => Some(managed.id()),
        _ => None,
    }
}

fn kept(plan: &Plan, observed: &Observation, inventory: &[Resource], purge: bool) -> Vec<Kept> {
    let mut kept = BTreeSet::new();
    let is_absent = |id: &ResourceId| matches!(observed.resources.get(id), Some(Presence::Absent));
    for resource in inventory {
        match &resource.spec {
            Spec::Secret(secret) if !is_absent(&resource.id) => drop(kept.insert(Kept::Secret(secret.path.clone()))),
            Spec::Run(run) => {
                let needed = targets::of_kind(resource.id.kind).map(|target| target.prerequisites(run));
                let data = needed.into_iter().flatten().filter(|what| !matches!(what, Prerequisite::Network(_)));
                kept.extend(data.map(Kept::Data));
            }
            _ if !purge && resource.id.kind.lasts() && !is_absent(&resource.id) => drop(kept.insert(Kept::UntilPurged)),
            _ => {}
        }
    }
    let gone: BTreeSet<&ResourceId> = plan.steps.iter().filter_map(|step| removed(&step.action)).collect();
    let unserved = |id: &ResourceId| {
        matches!(
            observed.resources.get(id),
            Some(Presence::Unknown(_) | Presence::Present(Live::Model { unserved: true, .. }))
        )
    };
    for remnant in observed.remnants.iter().filter(|_| purge) {
        if let Remnant::ModelRecords { models, .. } = remnant {
            let left = models.iter().filter(|(id, _)| !gone.contains(id) && unserved(id));
            kept.extend(left.map(|(_, name)| Kept::Model(name.clone())));
        }
    }
    kept.into_iter().collect()
}
