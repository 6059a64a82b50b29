//! Inspects servers, each through its target.

use crate::live::Presence;
use crate::resource::ResourceId;
use crate::systems::Systems;
use crate::targets::{Scope, drivers};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

/// Inspects one server.
pub async fn inspect(systems: &Systems, stack: &str, id: &ResourceId) -> Presence {
    let presence = inspect_all(systems, stack, &BTreeSet::from([id.clone()])).await;
    presence.into_values().next().unwrap_or(Presence::Absent)
}

/// Inspects several servers at once.
pub(super) async fn inspect_all(
    systems: &Systems,
    stack: &str,
    ids: &BTreeSet<ResourceId>,
) -> BTreeMap<ResourceId, Presence> {
    let scope = Scope { systems, stack };
    let inspections = drivers().map(|driver| {
        let servers = ids.iter().filter(|id| id.kind == driver.kind()).collect();
        driver.inspect(scope, servers)
    });
    join_all(inspections).await.into_iter().flatten().collect()
}

/// Returns the servers that are known, and those that carry the stack's ownership marker.
pub(super) async fn list(systems: &Systems, stack: &str, known: BTreeSet<ResourceId>) -> BTreeSet<ResourceId> {
    let scope = Scope { systems, stack };
    let listed = join_all(drivers().map(|driver| driver.list(scope, &known))).await;
    listed.into_iter().flatten().chain(known.iter().cloned()).collect()
}
