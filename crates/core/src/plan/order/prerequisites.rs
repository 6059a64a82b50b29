//! What servers need of their host.

use crate::live::Observation;
use crate::resolve::Desired;
use crate::resource::{Kind, Prerequisite, ResourceId};
use crate::targets;
use std::collections::BTreeSet;

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
