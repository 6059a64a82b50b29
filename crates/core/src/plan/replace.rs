//! Servers that cannot be changed: another takes the place of one, which stands aside until the other is verified.

use super::compare::RunRemedy;
use super::past::Past;
use super::step::Action;
use crate::live::{Managed, Observation};
use crate::resolve::Desired;
use crate::resource::{Fingerprint, Kind, Prerequisite, Resource, ResourceId};
use crate::targets;
use std::collections::BTreeSet;

/// The calls by which a server comes to be as declared under its own name, besides its stop and its start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replacement {
    /// Those before its start, one after another.
    pub(super) before: Vec<Action>,
    /// The one that removes what stands aside, once the server is verified.
    pub(super) after: Option<Action>,
}

/// Returns what stands aside under a server's second name, if it is managed, and whether it is as declared.
fn aside(desired: &Desired, observed: &Observation, resource: &Resource) -> Option<(Managed, bool)> {
    let id = targets::previous(&resource.id).filter(|id| !desired.resources.contains_key(id))?;
    let managed = Managed::prove(&desired.stack, &id, observed.resources.get(&id)?)?;
    let claim = observed.run(&id)?.definition.as_ref()?;
    Some((managed, claim.intact && claim.fingerprint == resource.fingerprint()))
}

/// Returns what stands aside though nothing takes its place.
pub(super) fn left_aside(desired: &Desired, observed: &Observation, resource: &Resource) -> Option<Managed> {
    aside(desired, observed, resource).map(|(managed, _)| managed)
}

/// Returns the calls that replace a server; nothing where its target changes it in place.
pub(super) fn replacement(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    resource: &Resource,
    remedy: &RunRemedy,
) -> Option<Replacement> {
    let id = &resource.id;
    targets::previous(id)?;
    let aside = aside(desired, observed, resource);
    let remove = |previous| Action::RemoveAside { server: id.clone(), previous };
    if !remedy.write {
        return Some(Replacement { before: Vec::new(), after: aside.map(|(managed, _)| remove(managed)) });
    }
    let create = Action::Create(id.clone());
    let restore = |previous| Action::Restore { server: id.clone(), previous };
    let current = observed.resources.get(id).and_then(|presence| Managed::prove(&desired.stack, id, presence));
    let Some(current) = current else {
        return Some(match aside {
            Some((previous, true)) => Replacement { before: vec![restore(previous)], after: None },
            Some((previous, false)) => Replacement { before: vec![create], after: Some(remove(previous)) },
            None => Replacement { before: vec![create], after: None },
        });
    };
    let set_aside = Action::SetAside(current.clone());
    let after = Some(Action::RemovePrevious(current.clone()));
    Some(match aside {
        None => Replacement { before: vec![set_aside, create], after },
        // It was verified, so what stands aside was only left behind.
        Some((previous, _)) if is_committed(observed, past, id) => {
            Replacement { before: vec![remove(previous), set_aside, create], after }
        }
        Some((previous, true)) => {
            Replacement { before: vec![Action::Discard(current), restore(previous)], after: None }
        }
        Some((previous, false)) => {
            Replacement { before: vec![Action::Discard(current), create], after: Some(remove(previous)) }
        }
    })
}

fn is_committed(observed: &Observation, past: &Past, id: &ResourceId) -> bool {
    let committed = past.committed.get(id).map(Fingerprint::of);
    let live = observed.run(id).and_then(|live| live.definition.as_ref());
    !past.trial && committed.is_some() && live.map(|claim| &claim.fingerprint) == committed.as_ref()
}

/// Returns the prerequisites of servers, as far as they are missing.
pub(super) fn missing<'a>(
    desired: &Desired,
    observed: &Observation,
    servers: impl Iterator<Item = &'a ResourceId>,
) -> BTreeSet<(Kind, Prerequisite)> {
    let servers = servers.filter_map(|id| Some((id.kind, desired.resources.get(id)?.run()?)));
    let needed = servers.filter_map(|(kind, run)| Some((kind, targets::of_kind(kind)?.prerequisites(run))));
    let each = needed.flat_map(|(kind, needed)| needed.into_iter().map(move |what| (kind, what)));
    each.filter(|(_, what)| !observed.prerequisites.contains(what)).collect()
}

/// Returns the networks of the stack that no declared server is in.
pub(super) fn unused_networks<'a>(desired: &Desired, observed: &'a Observation) -> Vec<(Kind, &'a String)> {
    let servers = desired.runs().filter_map(|(resource, run)| Some((targets::of_kind(resource.id.kind)?, run)));
    let used: BTreeSet<Prerequisite> = servers.flat_map(|(target, run)| target.prerequisites(run)).collect();
    let is_unused = |name: &String| !used.contains(&Prerequisite::Network(name.clone()));
    observed.networks.iter().filter(|(name, _)| is_unused(name)).map(|(name, kind)| (*kind, name)).collect()
}
