//! Contention of resources: host memory that must suffice for all, and ports that only one can have.

use super::cause::Cause;
use super::change::{Refusal, RefusalKind};
use super::compare::{Difference, Remedy, RunAction};
use super::past::Past;
use crate::engines;
use crate::live::{LiveRun, Observation, PortHolder, RunState};
use crate::resolve::Desired;
use crate::resource::{Bytes, Health, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// Returns why the desired state is refused: it exceeds its memory budget, or another program holds a port that it
/// needs.
pub(super) fn refuse(desired: &Desired, observed: &Observation, past: &Past, changes: &[Difference]) -> Vec<Refusal> {
    // One that runs as declared, but for a setting, holds nothing that is promised to another.
    let is_left = |difference: &&Difference| {
        difference.remedy.is_none() && !difference.change.causes.iter().all(Cause::is_setting)
    };
    let left: BTreeSet<&ResourceId> = changes.iter().filter(is_left).map(on).collect();
    let mut refusals: Vec<Refusal> =
        over_budget(desired, observed, past, &left, changes.iter().any(comes_up)).into_iter().collect();
    for difference in changes {
        let Some(Remedy::Run(remedy)) = &difference.remedy else { continue };
        if remedy.go == RunAction::Leave {
            continue;
        }
        let on = &difference.change.on;
        let ports = desired.resources.get(on).and_then(|resource| resource.run()).map(|run| run.ports.as_slice());
        for port in ports.unwrap_or_default() {
            if let Some(holder) = left.iter().find(|id| holds(observed, past, id, *port)) {
                refusals.push(Refusal {
                    on: on.clone(),
                    kind: RefusalKind::PortTaken,
                    message: format!("port {port} is taken by {holder}, which is left as it is"),
                    hint: Some(format!("stop it, or give {} another `port`", difference.change.role)),
                });
                continue;
            }
            let Some(holder) = observed.ports.get(port).filter(|holder| holder.resource.is_none()) else { continue };
            let pid = holder.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            refusals.push(Refusal {
                on: on.clone(),
                kind: RefusalKind::PortTaken,
                message: format!("port {port} is taken by {}{pid}", holder.command),
                hint: Some(
                    leave_it(desired, on, holder, *port)
                        .unwrap_or_else(|| format!("stop it, or give {} another `port`", difference.change.role)),
                ),
            });
        }
    }
    refusals
}

/// Returns the engine's own advice for a port that another program holds.
fn leave_it(desired: &Desired, id: &ResourceId, holder: &PortHolder, port: u16) -> Option<String> {
    let run = desired.resources.get(id)?.run()?;
    engines::find(run.engine.as_ref()?.as_str())?.on_port_taken(&holder.command, port)
}

/// Returns whether a server of this stack that is up listens on `port`, or will when it comes back by itself.
fn holds(observed: &Observation, past: &Past, id: &ResourceId, port: u16) -> bool {
    let listens = observed.ports.get(&port).is_some_and(|holder| holder.resource.as_ref() == Some(id));
    let up = observed.run(id).is_some_and(LiveRun::is_up);
    listens || (up && past.ports.get(id).is_some_and(|ports| ports.contains(&port)))
}

/// Returns the host memory that a server that is up may take: what is in force, and what it was allowed.
fn taken(past: &Past, id: &ResourceId, live: &LiveRun) -> u64 {
    let in_force = live.memory_limit.map_or(0, |limit| limit.0);
    past.memory.get(id).copied().unwrap_or_default().max(in_force)
}

fn over_budget(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    left: &BTreeSet<&ResourceId>,
    starts: bool,
) -> Option<Refusal> {
    let budget = desired.memory?;
    let mut claims: Vec<(&ResourceId, Bytes)> =
        desired.runs().filter_map(|(resource, run)| Some((&resource.id, run.memory?))).collect();
    // What is no longer declared and stays up takes its part, once something new is to come up beside it.
    for id in left.iter().filter(|id| starts && !desired.resources.contains_key(**id)) {
        let live = observed.run(id).filter(|live| live.is_up());
        claims.extend(live.map(|live| (*id, Bytes(taken(past, id, live)))));
    }
    let sum: Bytes = claims.iter().map(|(_, bytes)| *bytes).sum();
    if sum <= budget {
        return None;
    }
    let named: Vec<String> = claims.iter().map(|(id, bytes)| format!("{id} {bytes}")).collect();
    Some(Refusal {
        on: claims.first().map(|(id, _)| (*id).clone())?,
        kind: RefusalKind::OverBudget,
        message: format!("{sum} of host memory are asked for and {budget} may be used: {}", named.join(", ")),
        hint: Some("lower a `limits.memory`, or raise `machine.memory`".to_owned()),
    })
}

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

/// Finds the servers that must give something up before another may take it.
pub(super) fn stop_order(desired: &Desired, observed: &Observation, past: &Past, changes: &[Difference]) -> StopOrder {
    let mut result = StopOrder::default();
    let stopping: BTreeSet<&ResourceId> = changes.iter().filter(|change| goes_down(change)).map(on).collect();
    let starting: Vec<&ResourceId> = changes.iter().filter(|change| comes_up(change)).map(on).collect();

    let mut holders: BTreeMap<u16, BTreeSet<&ResourceId>> = BTreeMap::new();
    for id in &stopping {
        for port in past.ports.get(*id).into_iter().flatten() {
            holders.entry(*port).or_default().insert(id);
        }
    }
    for (port, holder) in &observed.ports {
        if let Some(id) = holder.resource.as_ref().filter(|id| stopping.contains(id)) {
            holders.entry(*port).or_default().insert(id);
        }
    }
    for id in &starting {
        let ports = desired.resources.get(*id).and_then(|resource| resource.run()).map(|run| run.ports.as_slice());
        for holder in ports.unwrap_or_default().iter().filter_map(|port| holders.get(port)).flatten() {
            if holder != id {
                result.stop.insert((*holder).clone());
                result.waits.entry((*id).clone()).or_default().insert((*holder).clone());
            }
        }
    }
    let of_ports = result.stop.clone();
    // What a GPU has left is looked at by a server when it starts, so who gives his part up does so before.
    for id in &starting {
        let gpus = desired.resources.get(*id).and_then(|resource| resource.run()).map(|run| &run.gpus);
        let shares = |other: &&ResourceId| {
            let before = past.gpus.get(*other);
            !keeps_its_place(desired, past, other)
                && other != id
                && gpus.zip(before).is_some_and(|(now, before)| now.shares_one(before))
        };
        for other in stopping.iter().copied().filter(shares) {
            result.stop.insert(other.clone());
            result.waits.entry((*id).clone()).or_default().insert(other.clone());
        }
    }
    // Only a server that a rollback may need sleeps, and only one that is healthy enough to obey the call.
    let may_sleep = |id: &&ResourceId| {
        let gone = past.sleep.contains(*id) && !desired.resources.contains_key(id) && !of_ports.contains(id);
        let well = observed
            .run(id)
            .is_some_and(|live| live.phase == RunState::Running && live.health.as_ref().is_none_or(Health::is_healthy));
        // A request that reaches one that sleeps hangs, or ends it, and it starts again with all its memory.
        let routed = past.previous.leads_to(id);
        gone && well && !routed && past.committed.contains_key(*id)
    };
    result.sleep = result.stop.iter().filter(may_sleep).cloned().collect();
    if is_tight(desired, observed, past) {
        result.sleep.clear();
        result.stop.extend(stopping.iter().map(|id| (*id).clone()));
        for id in &starting {
            result.waits.entry((*id).clone()).or_default().extend(stopping.iter().map(|id| (*id).clone()));
        }
    }
    result
}

/// Returns whether a server that restarts has the same part of the same GPUs afterwards: then the others need not wait.
fn keeps_its_place(desired: &Desired, past: &Past, id: &ResourceId) -> bool {
    let Some(resource) = desired.resources.get(id) else { return false };
    let Some(run) = resource.run() else { return false };
    Some(&run.gpus) == past.gpus.get(id) && run.gpu_claim == past.gpu_claims.get(id).copied()
}

fn on(difference: &Difference) -> &ResourceId {
    &difference.change.on
}

fn goes_down(difference: &Difference) -> bool {
    match &difference.remedy {
        Some(Remedy::Run(remedy)) => matches!(remedy.go, RunAction::Restart(_)),
        Some(Remedy::Remove { up, .. }) => *up,
        _ => false,
    }
}

fn comes_up(difference: &Difference) -> bool {
    matches!(&difference.remedy, Some(Remedy::Run(remedy)) if remedy.go != RunAction::Leave)
}

/// Returns whether old and new cannot be up side by side within the memory budget.
fn is_tight(desired: &Desired, observed: &Observation, past: &Past) -> bool {
    let Some(budget) = desired.memory else { return false };
    let mut claims: BTreeMap<&ResourceId, u64> = BTreeMap::new();
    for id in observed.resources.keys() {
        if let Some(live) = observed.run(id).filter(|live| live.is_up()) {
            claims.insert(id, taken(past, id, live));
        }
    }
    for (resource, run) in desired.runs() {
        let claim = claims.entry(&resource.id).or_default();
        *claim = (*claim).max(run.memory.map_or(0, |memory| memory.0));
    }
    claims.values().map(|claim| Bytes(*claim)).sum::<Bytes>() > budget
}
