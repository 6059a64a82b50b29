//! The list of steps while it grows.

use super::basis::{Basis, LONGEST_STOP};
use crate::plan::step::{Action, Arguments, Phase, Step, StepId};
use crate::resource::{Resource, ResourceId};
use crate::targets;
use std::collections::BTreeMap;

/// The steps so far, and the step to wait for to have a resource ready.
pub(super) struct Steps<'a> {
    basis: &'a Basis<'a>,
    list: Vec<Step>,
    /// The last step that brings a resource to its desired state.
    ready: BTreeMap<ResourceId, StepId>,
}

impl<'a> Steps<'a> {
    /// Returns an empty list.
    pub(super) const fn new(basis: &'a Basis<'a>) -> Self {
        Self { basis, list: Vec::new(), ready: BTreeMap::new() }
    }

    /// Returns the steps so far.
    pub(super) fn list(&self) -> &[Step] {
        &self.list
    }

    /// Returns all steps.
    pub(super) fn into_list(self) -> Vec<Step> {
        self.list
    }

    /// Adds a step after the steps in `after`.
    pub(super) fn add(&mut self, phase: Phase, action: Action, mut after: Vec<StepId>) -> StepId {
        after.sort_unstable();
        after.dedup();
        let id = StepId(self.list.len());
        let arguments = self.arguments(&action);
        let otherwise = action.otherwise();
        self.list.push(Step { id, phase, action, arguments, otherwise, after });
        id
    }

    /// Adds steps one after another, the first after the steps in `after`; returns the last.
    pub(super) fn chain(&mut self, phase: Phase, actions: Vec<Action>, after: &[StepId]) -> Option<StepId> {
        let mut last = None;
        for action in actions {
            let before = last.map_or_else(|| after.to_vec(), |last| vec![last]);
            last = Some(self.add(phase, action, before));
        }
        last
    }

    /// Notes the step that brings a resource to its desired state.
    pub(super) fn set_ready(&mut self, id: &ResourceId, step: StepId) {
        self.ready.insert(id.clone(), step);
    }

    /// Returns the step that brings a resource to its desired state.
    pub(super) fn ready(&self, id: &ResourceId) -> Option<StepId> {
        self.ready.get(id).copied()
    }

    /// Returns the steps of `phase` that make what `resource` needs.
    pub(super) fn needed(&self, resource: &Resource, phase: Phase) -> Vec<StepId> {
        let ready = resource.needs.iter().filter_map(|id| self.ready(id));
        ready.filter(|step| self.list[step.0].phase == phase).collect()
    }

    /// Returns what a call takes beyond the desired state.
    fn arguments(&self, action: &Action) -> Arguments {
        let Basis { desired, observed, past, .. } = self.basis;
        let known = |id: &ResourceId| past.arguments.get(id).cloned().unwrap_or_default();
        let named = |id: Option<ResourceId>| Arguments { name: id.map(|id| id.name), ..Arguments::default() };
        match action {
            Action::Stop(managed) | Action::RemoveServer(managed) => {
                let stop_timeout = known(managed.id()).stop_timeout.unwrap_or(LONGEST_STOP);
                Arguments { stop_timeout: Some(stop_timeout), ..Arguments::default() }
            }
            Action::Sleep(managed) | Action::Wake(managed) => {
                let declared = desired.resources.get(managed.id()).map(Arguments::of);
                let known = declared.unwrap_or_else(|| known(managed.id()));
                Arguments { stop_timeout: Some(known.stop_timeout.unwrap_or(LONGEST_STOP)), ..known }
            }
            Action::CreateEnvironment(_) => Arguments { uv: observed.uv.clone(), ..Arguments::default() },
            Action::RemoveFile(managed)
            | Action::RemoveEnvironment(managed)
            | Action::RemoveArtifact(managed)
            | Action::RemoveImage(managed) => known(managed.id()),
            Action::SetAside(managed) | Action::RemovePrevious(managed) => named(targets::previous(managed.id())),
            _ => Arguments::default(),
        }
    }
}
