//! Contention of memory, ports and GPUs between servers that stop and servers that start.

use crate::live::{Observation, RunState};
use crate::plan::compare::Difference;
use crate::plan::past::Past;
use crate::resolve::Desired;
use crate::resource::{Bytes, Health, ResourceId, Run};
use std::collections::{BTreeMap, BTreeSet};

/// Which servers must have stopped before which others may start.
#[derive(Debug, Default)]
pub(super) struct StopOrder {
    /// Servers that are up and must stop before anything that waits for them starts.
    pub(super) stop: BTreeSet<ResourceId>,
    /// Those of `stop` that can sleep instead: all that they must give up is on their GPU.
    pub(super) sleep: BTreeSet<ResourceId>,
    /// For each server that starts, those of `stop` for which it waits.
    pub(super) waits: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
}

impl StopOrder {
    /// Has one server wait until another has stopped.
    fn add(&mut self, starts: &ResourceId, stops: &ResourceId) {
        self.stop.insert(stops.clone());
        self.waits.entry(starts.clone()).or_default().insert(stops.clone());
    }
}

/// Returns the servers that must give something up before another may take it.
pub(super) fn stop_order(desired: &Desired, observed: &Observation, past: &Past, changes: &[Difference]) -> StopOrder {
    let stopping = changes.iter().filter(|change| change.goes_down()).map(Difference::on).collect();
    let starting = changes.iter().filter(|change| change.comes_up()).map(Difference::on).collect();
    Contention { desired, observed, past, stopping, starting }.stop_order()
}

/// The servers that may be in each other's way.
struct Contention<'a> {
    desired: &'a Desired,
    observed: &'a Observation,
    past: &'a Past,
    stopping: BTreeSet<&'a ResourceId>,
    starting: Vec<&'a ResourceId>,
}

impl Contention<'_> {
    fn stop_order(&self) -> StopOrder {
        let mut order = StopOrder::default();
        self.add_ports(&mut order);
        let of_ports = order.stop.clone();
        self.add_gpus(&mut order);
        let sleeps = |id: &&ResourceId| !of_ports.contains(*id) && self.may_sleep(id);
        order.sleep = order.stop.iter().filter(sleeps).cloned().collect();
        if self.is_tight() {
            order.sleep.clear();
            order.stop.extend(self.stopping.iter().map(|id| (*id).clone()));
            for id in &self.starting {
                let waits = order.waits.entry((*id).clone()).or_default();
                waits.extend(self.stopping.iter().map(|id| (*id).clone()));
            }
        }
        order
    }

    fn declared(&self, id: &ResourceId) -> Option<&Run> {
        self.desired.resources.get(id)?.run()
    }

    /// Adds the servers that hold a port which another needs.
    fn add_ports(&self, order: &mut StopOrder) {
        let mut holders: BTreeMap<u16, BTreeSet<&ResourceId>> = BTreeMap::new();
        for id in &self.stopping {
            for port in self.past.ports.get(*id).into_iter().flatten() {
                holders.entry(*port).or_default().insert(id);
            }
        }
        for (port, holder) in &self.observed.ports {
            if let Some(id) = holder.resource.as_ref().filter(|id| self.stopping.contains(id)) {
                holders.entry(*port).or_default().insert(id);
            }
        }
        for id in &self.starting {
            let ports = self.declared(id).map(|run| run.ports.as_slice()).unwrap_or_default();
            for holder in ports.iter().filter_map(|port| holders.get(port)).flatten().filter(|holder| *holder != id) {
                order.add(id, holder);
            }
        }
    }

    /// Adds the servers that give up their part of a GPU. A server looks at what a GPU has left when it starts.
    fn add_gpus(&self, order: &mut StopOrder) {
        for id in &self.starting {
            let gpus = self.declared(id).map(|run| &run.gpus);
            let shares = |other: &&ResourceId| {
                let before = self.past.gpus.get(*other);
                !self.keeps_its_place(other)
                    && other != id
                    && gpus.zip(before).is_some_and(|(now, before)| now.shares_one(before))
            };
            for other in self.stopping.iter().copied().filter(shares) {
                order.add(id, other);
            }
        }
    }

    /// Returns whether a server that restarts has the same part of the same GPUs afterwards: then the others need not wait.
    fn keeps_its_place(&self, id: &ResourceId) -> bool {
        let Self { desired, past, .. } = self;
        let Some(run) = desired.resources.get(id).and_then(|resource| resource.run()) else { return false };
        Some(&run.gpus) == past.gpus.get(id) && run.gpu_claim == past.gpu_claims.get(id).copied()
    }

    /// Returns whether a server may sleep instead of stopping: a rollback may need it, and it is healthy enough to obey
    /// the call.
    fn may_sleep(&self, id: &ResourceId) -> bool {
        let Self { desired, observed, past, .. } = self;
        let gone = past.sleep.contains(id) && !desired.resources.contains_key(id);
        let healthy = observed
            .run(id)
            .is_some_and(|live| live.phase == RunState::Running && live.health.as_ref().is_none_or(Health::is_healthy));
        // A request that reaches one that sleeps hangs, or ends it, and it starts again with all its memory.
        let routed = past.previous.leads_to(id);
        gone && healthy && !routed && past.committed.contains_key(id)
    }

    /// Returns whether old and new cannot be up side by side within the memory budget.
    fn is_tight(&self) -> bool {
        let Self { desired, observed, past, .. } = self;
        let Some(budget) = desired.memory else { return false };
        let mut claims: BTreeMap<&ResourceId, u64> = BTreeMap::new();
        for id in observed.resources.keys() {
            if let Some(live) = observed.run(id).filter(|live| live.is_up()) {
                claims.insert(id, past.memory_taken(id, live));
            }
        }
        for (resource, run) in desired.runs() {
            let claim = claims.entry(&resource.id).or_default();
            *claim = (*claim).max(run.memory.map_or(0, |memory| memory.0));
        }
        claims.values().map(|claim| Bytes(*claim)).sum::<Bytes>() > budget
    }
}
