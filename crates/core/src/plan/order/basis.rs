//! What every step is decided from.

use super::contention::{StopOrder, stop_order};
use super::replace::{Replacement, replacement};
use crate::live::{Instances, Managed, Observation};
use crate::plan::compare::{Difference, Remedy, RunAction, RunRemedy};
use crate::plan::past::Past;
use crate::resolve::Desired;
use crate::resource::{ResourceId, Run, Seconds};
use crate::targets::{self, Target};
use std::collections::BTreeMap;

/// The default time for a server to stop.
pub(super) const LONGEST_STOP: Seconds = Seconds::new(300);

/// The basis of every step: the three states, the remedies, and what they mean for servers that are in each other's way.
pub(super) struct Basis<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observation,
    pub(super) past: &'a Past,
    /// The remedies of the differences, without those that are only reported.
    pub(super) remedies: BTreeMap<&'a ResourceId, &'a Remedy>,
    /// Those of declared servers.
    pub(super) runs: BTreeMap<&'a ResourceId, &'a RunRemedy>,
    /// Which servers stop before which others start.
    pub(super) stop_order: StopOrder,
    /// How servers that cannot be changed are replaced.
    pub(super) replacements: BTreeMap<&'a ResourceId, Replacement>,
}

impl<'a> Basis<'a> {
    /// Returns the basis of the steps that make the changes.
    pub(super) fn new(
        desired: &'a Desired,
        observed: &'a Observation,
        past: &'a Past,
        changes: &'a [Difference],
    ) -> Self {
        let remedy = |difference: &'a Difference| Some((&difference.change.on, difference.remedy.as_ref()?));
        let remedies: BTreeMap<&ResourceId, &Remedy> = changes.iter().filter_map(remedy).collect();
        let run = |(id, remedy): (&&'a ResourceId, &&'a Remedy)| match remedy {
            Remedy::Run(remedy) => Some((*id, remedy)),
            _ => None,
        };
        let runs: BTreeMap<&ResourceId, &RunRemedy> = remedies.iter().filter_map(run).collect();
        let replaced = |(id, remedy): (&&'a ResourceId, &&RunRemedy)| {
            let resource = desired.resources.get(*id)?;
            Some((*id, replacement(desired, observed, past, resource, remedy)?))
        };
        let replacements = runs.iter().filter_map(replaced).collect();
        let stop_order = stop_order(desired, observed, past, changes);
        Self { desired, observed, past, remedies, runs, stop_order, replacements }
    }

    /// Returns a declared server.
    pub(super) fn declared(&self, id: &ResourceId) -> Option<&'a Run> {
        self.desired.resources.get(id)?.run()
    }

    /// Returns whether a server comes up or is awaited.
    pub(super) fn comes_up(&self, id: &ResourceId) -> bool {
        self.runs.get(id).is_some_and(|remedy| remedy.go != RunAction::Leave)
    }

    /// Returns the proof that a live resource is managed.
    pub(super) fn managed(&self, id: &ResourceId) -> Option<Managed> {
        self.observed.resources.get(id).and_then(|presence| Managed::prove(&self.desired.stack, id, presence))
    }

    /// Returns the parts of a live server that hands its socket off.
    pub(super) fn parts_of(&self, id: &ResourceId) -> Option<&'a Instances> {
        self.observed.instances.get(id).filter(|live| live.current.is_some() || !live.others.is_empty())
    }

    /// Returns whether a server is declared to hand its socket off: each of its instances then has a definition of its
    /// own, written when it starts.
    pub(super) fn hands_off(&self, id: &ResourceId) -> bool {
        self.declared(id).is_some_and(|run| run.socket_handoff)
    }

    /// Returns whether a server is declared, and not to hand its socket off.
    pub(super) fn becomes_plain(&self, id: &ResourceId) -> bool {
        self.declared(id).is_some_and(|run| !run.socket_handoff)
    }

    /// Returns whether a live server has a definition under its own name, whatever instances there are beside it.
    pub(super) fn is_plain(&self, id: &ResourceId) -> bool {
        self.observed.run(id).is_some_and(|live| !live.socket_handoff)
    }

    /// Returns whether a manager loads one definition of a server, under the server's own name.
    pub(super) fn has_one_definition(&self, id: &ResourceId) -> bool {
        loads_definitions(id) && !self.hands_off(id)
    }

    /// Returns whether a server is restarted in one call. One that comes to hand its socket off, or no longer does, is
    /// made of other parts.
    pub(super) fn restarts_in_one_call(&self, id: &ResourceId) -> bool {
        let live = self.observed.run(id).is_some_and(|live| live.socket_handoff);
        targets::of_kind(id.kind).is_some_and(Target::restarts_in_one_call) && !live && !self.hands_off(id)
    }
}

/// Returns whether the definitions of a server's kind are loaded by a manager.
pub(super) fn loads_definitions(id: &ResourceId) -> bool {
    targets::of_kind(id.kind).is_some_and(Target::loads_definitions)
}
