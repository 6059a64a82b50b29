//! Which servers come before which others.

use super::basis::Basis;
use crate::plan::compare::RunAction;
use crate::resource::{Gpus, Resource, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// For each server that starts the ones that start before it on its GPU.
pub(super) type FirstOnGpu<'a> = BTreeMap<&'a ResourceId, Vec<&'a ResourceId>>;

/// Returns for each server that starts the ones that start before it on its GPU: one after another, because each
/// measures the free memory while it starts. Servers that claim a share of the GPU go first; among equals, those that
/// were on the GPU before.
pub(super) fn first_on_gpu<'a>(basis: &Basis<'a>) -> FirstOnGpu<'a> {
    let starting = basis.runs.keys().filter(|id| basis.comes_up(id)).filter_map(|id| {
        let run = basis.declared(id)?;
        let place = (run.gpu_claim.is_none(), !basis.past.gpus.contains_key(*id));
        (!run.gpus.is_none()).then_some((place, *id, &run.gpus))
    });
    let mut starting: Vec<((bool, bool), &ResourceId, &Gpus)> = starting.collect();
    starting.sort_by_key(|(place, id, _)| (*place, *id));
    let earlier = |index: usize| {
        let shares = |other: &&((bool, bool), &'a ResourceId, &Gpus)| other.2.shares_one(starting[index].2);
        starting[..index].iter().filter(shares).map(|(_, id, _)| *id).collect()
    };
    (0..starting.len()).map(|index| (starting[index].1, earlier(index))).collect()
}

/// Sorts the servers that have a remedy after their dependencies, and after those that start first on their GPU.
pub(super) fn by_need<'a>(basis: &Basis<'a>, first_on_gpu: &FirstOnGpu<'a>) -> Vec<&'a ResourceId> {
    sorted(basis.runs.keys().copied(), |id| {
        let needs = basis.desired.resources.get(id).map(|resource| &resource.needs).into_iter().flatten();
        let first = first_on_gpu.get(id).into_iter().flatten().copied();
        needs.filter(|need| basis.runs.contains_key(need)).chain(first).collect()
    })
}

/// Returns a gateway that replaces a running one, and everything that depends on it.
pub(super) fn behind_the_rest<'a>(basis: &Basis<'a>) -> BTreeSet<&'a ResourceId> {
    let changes = |id: &ResourceId| match basis.runs.get(id).map(|remedy| &remedy.go) {
        Some(RunAction::HandOff(_) | RunAction::Restart(_)) => true,
        Some(RunAction::Start) => basis.stop_order.waits.contains_key(id),
        Some(RunAction::Wake(_) | RunAction::Await | RunAction::Leave) | None => false,
    };
    let gateway = basis.desired.gateway().map(|(id, _)| id).filter(|id| changes(id));
    let mut behind: BTreeSet<&ResourceId> = gateway.into_iter().collect();
    loop {
        let needs_one = |resource: &&Resource| resource.needs.iter().any(|need| behind.contains(need));
        let more: Vec<&ResourceId> =
            basis.desired.resources.values().filter(needs_one).map(|resource| &resource.id).collect();
        let before = behind.len();
        behind.extend(more);
        if behind.len() == before {
            return behind;
        }
    }
}

/// Sorts topologically, ties by name; members of a cycle keep their order by name.
pub(super) fn sorted<'a>(
    ids: impl Iterator<Item = &'a ResourceId>,
    before: impl Fn(&'a ResourceId) -> Vec<&'a ResourceId>,
) -> Vec<&'a ResourceId> {
    fn visit<'a>(
        id: &'a ResourceId,
        before: &impl Fn(&'a ResourceId) -> Vec<&'a ResourceId>,
        known: &mut BTreeSet<&'a ResourceId>,
        order: &mut Vec<&'a ResourceId>,
    ) {
        if known.insert(id) {
            for other in before(id) {
                visit(other, before, known, order);
            }
            order.push(id);
        }
    }
    let (mut known, mut order) = (BTreeSet::new(), Vec::new());
    for id in ids {
        visit(id, &before, &mut known, &mut order);
    }
    order
}
