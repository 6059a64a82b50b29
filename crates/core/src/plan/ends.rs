//! The end of servers: which calls stop them, or have them sleep, and in which order.

use super::compare::{RunAction, RunRemedy};
use super::order::{LONGEST_STOP, Steps, sorted};
use super::parts;
use super::past::Past;
use super::step::{Action, Phase, StepId};
use crate::live::{Instances, Managed, Observation};
use crate::resolve::Desired;
use crate::resource::{Resource, ResourceId, Seconds};
use std::collections::{BTreeMap, BTreeSet};

/// The end of servers in one phase.
pub(super) struct Ends<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observation,
    pub(super) past: &'a Past,
    pub(super) phase: Phase,
    /// Those that sleep instead of stopping.
    pub(super) sleep: &'a BTreeSet<ResourceId>,
}

impl Ends<'_> {
    /// Adds a stop or sleep for each, so that dependents stop before their dependencies, and all of them after the
    /// steps in `first`.
    pub(super) fn stop(
        &self,
        managed: &[&Managed],
        first: &[StepId],
        steps: &mut Steps<'_>,
    ) -> BTreeMap<ResourceId, StepId> {
        let ids: BTreeMap<&ResourceId, &Managed> = managed.iter().map(|managed| (managed.id(), *managed)).collect();
        let mut dependents: BTreeMap<&ResourceId, Vec<&ResourceId>> = BTreeMap::new();
        for id in ids.keys() {
            for need in self.past.needs.get(*id).into_iter().flatten().filter(|need| ids.contains_key(need)) {
                dependents.entry(need).or_default().push(id);
            }
        }
        let mut stopped = BTreeMap::new();
        let order = sorted(ids.keys().copied(), |id| dependents.get(id).cloned().unwrap_or_default());
        for id in order {
            let dependents = dependents.get(id).into_iter().flatten().filter_map(|id| stopped.get(*id).copied());
            let after: Vec<StepId> = dependents.chain(first.iter().copied()).collect();
            let Some(managed) = ids.get(id).copied() else { continue };
            let calls = match parts_of(self.observed, id) {
                Some(live) if self.is_plain(id) => {
                    [Action::Stop(managed.clone())].into_iter().chain(parts::remove_strays(managed, live)).collect()
                }
                Some(live) if self.phase == Phase::Switch && self.becomes_plain(id) => {
                    let mut calls = parts::stop(managed, live, self.stop_timeout(id));
                    calls.extend(parts::free_name(managed));
                    calls
                }
                Some(live) => parts::stop(managed, live, self.stop_timeout(id)),
                None if self.sleep.contains(id) => vec![Action::Sleep(managed.clone())],
                None => vec![Action::Stop(managed.clone())],
            };
            stopped.extend(steps.chain(self.phase, calls, &after).map(|step| (id.clone(), step)));
        }
        stopped
    }

    /// Adds the removal of servers that do not run, and whose declaration no longer hands its socket off.
    pub(super) fn dismantle_stopped(
        &self,
        runs: &BTreeMap<&ResourceId, &RunRemedy>,
        steps: &mut Steps<'_>,
    ) -> BTreeMap<ResourceId, StepId> {
        let mut dismantled = BTreeMap::new();
        for id in runs.iter().filter(|(_, remedy)| remedy.go == RunAction::Start).map(|(id, _)| *id) {
            let managed =
                managed(self.desired, self.observed, id).filter(|_| self.becomes_plain(id) && !self.is_plain(id));
            if let (Some(live), Some(managed)) = (parts_of(self.observed, id), managed) {
                let mut calls = parts::stop(&managed, live, self.stop_timeout(id));
                calls.extend(parts::free_name(&managed));
                dismantled.extend(steps.chain(self.phase, calls, &[]).map(|step| (id.clone(), step)));
            }
        }
        dismantled
    }

    /// Returns whether a server is declared, and not to hand its socket off.
    fn becomes_plain(&self, id: &ResourceId) -> bool {
        self.desired.resources.get(id).and_then(Resource::run).is_some_and(|run| !run.socket_handoff)
    }

    /// Returns whether a live server has a definition under its own name, whatever instances there are beside it.
    pub(super) fn is_plain(&self, id: &ResourceId) -> bool {
        self.observed.run(id).is_some_and(|live| !live.socket_handoff)
    }

    /// Returns the calls that remove a server with its instances; one that was up has stopped before.
    pub(super) fn removal(&self, managed: &Managed, live: &Instances, was_up: bool) -> Vec<Action> {
        if self.is_plain(managed.id()) {
            let strays = parts::remove_strays(managed, live);
            return strays.into_iter().chain([Action::RemoveServer(managed.clone())]).collect();
        }
        if was_up { parts::remove(managed, live) } else { self.dismantle(managed, live) }
    }

    fn dismantle(&self, managed: &Managed, live: &Instances) -> Vec<Action> {
        let mut calls = parts::stop(managed, live, self.stop_timeout(managed.id()));
        calls.extend(parts::remove(managed, live));
        calls
    }

    fn stop_timeout(&self, id: &ResourceId) -> Seconds {
        self.past.arguments.get(id).and_then(|known| known.stop_timeout).unwrap_or(LONGEST_STOP)
    }
}

/// Returns the parts of a live server that hands its socket off.
pub(super) fn parts_of<'a>(observed: &'a Observation, id: &ResourceId) -> Option<&'a Instances> {
    observed.instances.get(id).filter(|live| live.current.is_some() || !live.others.is_empty())
}

pub(super) fn managed(desired: &Desired, observed: &Observation, id: &ResourceId) -> Option<Managed> {
    observed.resources.get(id).and_then(|presence| Managed::prove(&desired.stack, id, presence))
}
