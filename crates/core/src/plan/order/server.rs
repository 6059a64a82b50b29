//! The steps that bring one server to its desired state, in the switch phase.

use super::basis::Basis;
use super::parts;
use super::replace::Replacement;
use super::sequence::FirstOnGpu;
use super::steps::Steps;
use crate::live::{Instances, Managed};
use crate::plan::compare::{RunAction, RunRemedy};
use crate::plan::step::{Action, Phase, StepId};
use crate::resource::{Kind, Resource, ResourceId};
use std::collections::BTreeMap;

/// The steps that servers wait for before they start.
pub(super) struct Waits<'a> {
    pub(super) basis: &'a Basis<'a>,
    /// The steps that stop servers.
    pub(super) stopped: BTreeMap<ResourceId, StepId>,
    /// The steps that have managers load definitions.
    pub(super) reloaded: BTreeMap<Kind, StepId>,
    pub(super) first_on_gpu: FirstOnGpu<'a>,
    /// The steps that verify the others, for servers that come after them.
    pub(super) verified: Vec<StepId>,
}

/// Adds the steps that bring a server to its desired state.
pub(super) fn bring(waits: &Waits<'_>, id: &ResourceId, steps: &mut Steps<'_>) {
    let basis = waits.basis;
    let (Some(remedy), Some(resource)) = (basis.runs.get(id), basis.desired.resources.get(id)) else { return };
    let parts = basis.observed.instances.get(id).cloned().unwrap_or_default();
    let own_stop = waits.stopped.get(id).copied();
    let server = Server { waits, id, resource, remedy, managed: basis.managed(id), parts, own_stop };
    server.enable(steps);
    let after = server.prerequisites(steps);
    match (&remedy.go, own_stop) {
        (RunAction::Leave, _) => {}
        (RunAction::Await, _) => server.await_healthy(after, steps),
        (RunAction::HandOff(managed), _) => server.hand_off(managed, &after, steps),
        (RunAction::Start | RunAction::Restart(_), _) if basis.replacements.contains_key(id) => {
            server.replace(&basis.replacements[id], after, steps);
        }
        (RunAction::Start | RunAction::Restart(_), _) if basis.hands_off(id) => server.start_instance(after, steps),
        (RunAction::Restart(managed), None) => server.start(Action::Restart(managed.clone()), after, steps),
        (RunAction::Wake(managed), None) => server.start(Action::Wake(managed.clone()), after, steps),
        _ => server.start(Action::Start(id.clone()), after, steps),
    }
}

/// A server on the way to its desired state.
struct Server<'a> {
    waits: &'a Waits<'a>,
    id: &'a ResourceId,
    resource: &'a Resource,
    remedy: &'a RunRemedy,
    /// The proof that the live one is managed.
    managed: Option<Managed>,
    /// The parts of the live one.
    parts: Instances,
    /// The step that stops it.
    own_stop: Option<StepId>,
}

impl Server<'_> {
    /// Returns the step that loads its definition.
    fn reload(&self) -> Option<StepId> {
        self.waits.reloaded.get(&self.id.kind).copied().filter(|_| self.waits.basis.has_one_definition(self.id))
    }

    /// Has it start with the machine, where its name stays or is there already.
    fn enable(&self, steps: &mut Steps<'_>) {
        let basis = self.waits.basis;
        let keeps_name = self.remedy.keeps_process() || matches!(self.remedy.go, RunAction::HandOff(_));
        let has_name = basis.has_one_definition(self.id) || (basis.hands_off(self.id) && keeps_name);
        if self.remedy.enable && has_name {
            steps.add(Phase::Switch, Action::Enable(self.id.clone()), self.reload().into_iter().collect());
        }
    }

    /// Returns the steps that come before all of its own, and adds the end of its orphans to them.
    fn prerequisites(&self, steps: &mut Steps<'_>) -> Vec<StepId> {
        let Waits { basis, stopped, first_on_gpu, .. } = self.waits;
        let mut after = steps.needed(self.resource, Phase::Switch);
        after.extend(self.reload());
        let waits = basis.stop_order.waits.get(self.id).into_iter().flatten();
        after.extend(waits.filter_map(|id| stopped.get(id).copied()));
        after.extend(first_on_gpu.get(self.id).into_iter().flatten().filter_map(|id| steps.ready(id)));
        after.extend(self.own_stop);
        // An orphan may hold what the next instance needs, and answer clients in place of the current one.
        if let Some(managed) = self.managed.as_ref().filter(|_| self.own_stop.is_none()) {
            after.extend(steps.chain(Phase::Switch, parts::clear_orphans(managed, &self.parts), &[]));
        }
        after
    }

    fn await_healthy(&self, after: Vec<StepId>, steps: &mut Steps<'_>) {
        let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(self.id.clone()), after);
        steps.set_ready(self.id, healthy);
    }

    /// Starts it in one call.
    fn start(&self, action: Action, mut after: Vec<StepId>, steps: &mut Steps<'_>) {
        after.extend(&self.waits.verified);
        let started = steps.add(Phase::Switch, action, after);
        let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(self.id.clone()), vec![started]);
        steps.set_ready(self.id, healthy);
        // The instances of one that no longer hands its socket off stay until it has a definition of its own.
        let was_plain = self.waits.basis.is_plain(self.id);
        if let Some(managed) = self.managed.as_ref().filter(|_| self.own_stop.is_some() && !was_plain) {
            let mut calls = parts::remove_strays(managed, &self.parts);
            calls.extend((!calls.is_empty()).then_some(Action::ReloadManager(self.id.kind)));
            steps.chain(Phase::Switch, calls, &[healthy]);
        }
    }

    /// Has another take its place.
    fn replace(&self, replacement: &Replacement, after: Vec<StepId>, steps: &mut Steps<'_>) {
        let replaced = steps.chain(Phase::Switch, replacement.before.clone(), &after);
        let after = replaced.map_or(after, |step| vec![step]);
        self.start(Action::Start(self.id.clone()), after, steps);
    }

    /// Starts an instance where none runs.
    fn start_instance(&self, mut after: Vec<StepId>, steps: &mut Steps<'_>) {
        after.extend(&self.waits.verified);
        let stops = self.own_stop.is_some();
        let mut live = self.parts.clone();
        live.listens &= !stops;
        if !stops || self.waits.basis.is_plain(self.id) {
            live.others.clear();
        }
        let calls = parts::start(self.id, &live, self.managed.as_ref(), self.remedy.write || stops);
        let started = steps.chain(Phase::Switch, calls, &after);
        self.await_healthy(started.into_iter().collect(), steps);
    }

    /// Hands its socket off to a successor, which starts and is rehearsed without waiting for the others.
    fn hand_off(&self, managed: &Managed, after: &[StepId], steps: &mut Steps<'_>) {
        let rehearsed = steps.chain(Phase::Switch, parts::rehearse(self.id, &self.parts), after);
        let after: Vec<StepId> = rehearsed.iter().chain(&self.waits.verified).copied().collect();
        let started = steps.chain(Phase::Switch, parts::hand_over(managed, &self.parts), &after);
        self.await_healthy(started.into_iter().collect(), steps);
    }
}
