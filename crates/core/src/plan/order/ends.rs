//! The end of servers: which calls stop them, or have them sleep, and in which order.

use super::basis::{Basis, LONGEST_STOP};
use super::parts;
use super::sequence::sorted;
use super::steps::Steps;
use crate::live::{Instances, Managed};
use crate::plan::compare::RunAction;
use crate::plan::step::{Action, Phase, StepId};
use crate::resource::{ResourceId, Seconds};
use std::collections::BTreeMap;

/// The end of servers in one phase.
pub(super) struct Ends<'a> {
    pub(super) basis: &'a Basis<'a>,
    pub(super) phase: Phase,
}

impl Ends<'_> {
    /// Adds a stop or sleep for each, so that dependents stop before their dependencies, and each after the steps
    /// that `first` returns for it.
    pub(super) fn stop(
        &self,
        managed: &[&Managed],
        first: impl Fn(&ResourceId) -> Vec<StepId>,
        steps: &mut Steps<'_>,
    ) -> BTreeMap<ResourceId, StepId> {
        let ids: BTreeMap<&ResourceId, &Managed> = managed.iter().map(|managed| (managed.id(), *managed)).collect();
        let mut dependents: BTreeMap<&ResourceId, Vec<&ResourceId>> = BTreeMap::new();
        for id in ids.keys() {
            for need in self.basis.past.needs.get(*id).into_iter().flatten().filter(|need| ids.contains_key(need)) {
                dependents.entry(need).or_default().push(id);
            }
        }
        let mut stopped = BTreeMap::new();
        let order = sorted(ids.keys().copied(), |id| dependents.get(id).cloned().unwrap_or_default());
        for id in order {
            let dependents = dependents.get(id).into_iter().flatten().filter_map(|id| stopped.get(*id).copied());
            let after: Vec<StepId> = dependents.chain(first(id)).collect();
            let Some(managed) = ids.get(id).copied() else { continue };
            stopped.extend(steps.chain(self.phase, self.stop_calls(managed), &after).map(|step| (id.clone(), step)));
        }
        stopped
    }

    /// Returns the calls that stop a server, one after another.
    fn stop_calls(&self, managed: &Managed) -> Vec<Action> {
        let id = managed.id();
        let stop = Action::Stop(managed.clone());
        match self.basis.parts_of(id) {
            Some(live) if self.basis.is_plain(id) => {
                [stop].into_iter().chain(parts::remove_strays(managed, live)).collect()
            }
            Some(live) if self.phase == Phase::Switch && self.basis.becomes_plain(id) => {
                self.stop_and_free_name(managed, live)
            }
            Some(live) => parts::stop(managed, live, self.stop_timeout(id)),
            None if self.sleeps(id) => vec![Action::Sleep(managed.clone())],
            None => vec![stop],
        }
    }

    /// Adds the removal of servers that do not run, and whose declaration no longer hands its socket off.
    pub(super) fn dismantle_stopped(&self, steps: &mut Steps<'_>) -> BTreeMap<ResourceId, StepId> {
        let mut dismantled = BTreeMap::new();
        for id in self.basis.runs.iter().filter(|(_, remedy)| remedy.go == RunAction::Start).map(|(id, _)| *id) {
            let managed = self.basis.managed(id).filter(|_| self.basis.becomes_plain(id) && !self.basis.is_plain(id));
            if let (Some(live), Some(managed)) = (self.basis.parts_of(id), managed) {
                let calls = self.stop_and_free_name(&managed, live);
                dismantled.extend(steps.chain(self.phase, calls, &[]).map(|step| (id.clone(), step)));
            }
        }
        dismantled
    }

    /// Returns the calls that remove a server with its instances; one that was up has stopped before.
    pub(super) fn removal(&self, managed: &Managed, live: &Instances, was_up: bool) -> Vec<Action> {
        if self.basis.is_plain(managed.id()) {
            let strays = parts::remove_strays(managed, live);
            return strays.into_iter().chain([Action::RemoveServer(managed.clone())]).collect();
        }
        let remove = parts::remove(managed, live);
        if was_up {
            return remove;
        }
        parts::stop(managed, live, self.stop_timeout(managed.id())).into_iter().chain(remove).collect()
    }

    fn stop_and_free_name(&self, managed: &Managed, live: &Instances) -> Vec<Action> {
        let stop = parts::stop(managed, live, self.stop_timeout(managed.id()));
        stop.into_iter().chain(parts::free_name(managed)).collect()
    }

    /// Returns whether a server sleeps instead of stopping.
    fn sleeps(&self, id: &ResourceId) -> bool {
        self.phase == Phase::Switch && self.basis.stop_order.sleep.contains(id)
    }

    fn stop_timeout(&self, id: &ResourceId) -> Seconds {
        self.basis.past.arguments.get(id).and_then(|known| known.stop_timeout).unwrap_or(LONGEST_STOP)
    }
}
