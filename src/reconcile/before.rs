//! How the servers are before an apply touches anything: what was unhealthy then does not count against the change.

use super::prepare::{Prepared, started};
use super::world::{Stack, World};
use crate::apply::Execution;
use crate::history::{Before, DeadMan};
use crate::live::{LiveRun, Observation, Presence, RunState};
use crate::observe::Depth;
use crate::plan::Past;
use crate::resolve::Desired;
use crate::resource::{Fingerprint, Health, Resource, ResourceId};
use std::collections::BTreeSet;

/// Returns how the servers are before anything is touched; `earlier` is how they were before an apply that died before it
/// had an outcome.
pub(super) fn before(prepared: &Prepared, earlier: Option<Before>) -> Before {
    let Prepared { revision, observed, past, .. } = prepared;
    let mut preexisting = unhealthy_before(&revision.desired, observed, past);
    preexisting.extend(left_missing(prepared));
    let lives = observed.resources.keys().filter_map(|id| Some((id, observed.run(id)?)));
    let up = lives.filter(|(_, live)| live.is_up());
    let starts = up.filter_map(|(id, live)| Some((id.clone(), live.identity.clone()?))).collect();
    if let Some(earlier) = earlier {
        // That apply may have started one, or put it to sleep: one that is up was unhealthy only if it was so before
        // it, or if it is the start that was there before it.
        let untouched = |id: &ResourceId, live: &LiveRun| {
            !live.is_up()
                || (!live.asleep && live.identity.is_some() && live.identity.as_ref() == earlier.starts.get(id))
        };
        preexisting
            .retain(|id| earlier.preexisting.contains(id) || observed.run(id).is_some_and(|live| untouched(id, live)));
    }
    Before { preexisting, starts }
}

/// Returns the servers of the committed generation that are missing, as when they were removed by hand, and that the
/// plan leaves so.
fn left_missing(prepared: &Prepared) -> impl Iterator<Item = ResourceId> {
    let started = started(&prepared.plan);
    let is_left = move |resource: &Resource| {
        prepared.past.committed.get(&resource.id) == Some(&resource.fields())
            && prepared.observed.presence(&resource.id) == Presence::Absent
            && !started.contains(&resource.id)
    };
    let servers = prepared.revision.desired.runs().map(|(resource, _)| resource);
    servers.filter(move |resource| is_left(resource)).map(|resource| resource.id.clone())
}

/// Returns the servers of the committed generation that were unhealthy before the change: they do not count against
/// it. A server left behind by an interrupted apply does.
fn unhealthy_before(desired: &Desired, observed: &Observation, past: &Past) -> BTreeSet<ResourceId> {
    let good = |id: &ResourceId| past.committed.get(id).map(Fingerprint::of);
    desired
        .runs()
        .filter_map(|(resource, _)| Some((&resource.id, observed.run(&resource.id)?)))
        .filter(|(id, live)| {
            good(id).is_some() && live.definition.as_ref().map(|claim| &claim.fingerprint) == good(id).as_ref()
        })
        .filter(|(_, live)| live.phase != RunState::Running || live.health != Some(Health::Healthy))
        .map(|(id, _)| id.clone())
        .collect()
}

/// Returns what is on record of the last apply before generation `number`, where that died before it had an outcome.
pub(super) fn unfinished<W: World>(stack: &Stack<W>, number: u64) -> Option<DeadMan> {
    let armed = stack.history.watched().unwrap_or_default();
    let last = armed.into_iter().rfind(|armed| *armed < number)?;
    // A record that cannot be read excuses no server either.
    let has_outcome = stack.history.outcome(last).is_ok_and(|outcome| outcome.is_some());
    if has_outcome { None } else { Some(stack.history.watch(last).ok().flatten().unwrap_or_default()) }
}

/// Returns which of the servers that were unhealthy before still are.
pub(super) async fn still_unhealthy<W: World>(
    execution: Execution<'_, W>,
    preexisting: &BTreeSet<ResourceId>,
) -> Vec<ResourceId> {
    let mut still = Vec::new();
    for id in preexisting {
        let resource = execution.desired.resources.get(id).map(|resource| (id.clone(), resource.clone()));
        let only = Desired {
            resources: resource.into_iter().collect(),
            ..Desired::nothing(execution.desired.stack.clone(), execution.desired.policy.clone())
        };
        let observed = execution.systems.observe(&only, &[], Depth::Health).await;
        if observed.run(id).is_none_or(|live| live.health != Some(Health::Healthy)) {
            still.push(id.clone());
        }
    }
    still
}
