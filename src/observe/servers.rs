//! Inspects what targets keep: each target is asked beside the others, and has its own deadline.

use super::deadline::ANSWER;
use crate::live::{Presence, Unseen};
use crate::resolve::Desired;
use crate::resource::{Resource, ResourceId};
use crate::systems::Systems;
use crate::targets::{self, Driver, Findings, Inquiry, Scope};
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// Inspects one server.
pub async fn inspect(systems: &Systems, stack: &str, id: &ResourceId) -> Presence {
    let unknown = || Presence::Unknown(Unseen::not_inspected());
    let Some(driver) = targets::drivers().find(|driver| driver.kind() == id.kind) else { return unknown() };
    let presence = driver.inspect(Scope { systems, stack }, vec![id]).await;
    presence.into_values().next().unwrap_or_else(unknown)
}

/// Observes every target at once.
pub(super) async fn observe_targets(
    systems: &Systems,
    desired: &Desired,
    known: &BTreeMap<&ResourceId, &Resource>,
) -> Vec<(&'static dyn Driver, Findings)> {
    let scope = Scope { systems, stack: &desired.stack };
    let observed =
        targets::drivers().map(|driver| async move { (driver, observe(scope, driver, desired, known).await) });
    join_all(observed).await
}

async fn observe(
    scope: Scope<'_>,
    driver: &dyn Driver,
    desired: &Desired,
    known: &BTreeMap<&ResourceId, &Resource>,
) -> Findings {
    let kind = driver.kind();
    let target = targets::of_kind(kind);
    let own = desired.runs().filter(|(resource, _)| resource.id.kind == kind);
    let through = |resource: &&Resource| target.is_some_and(|target| target.observes(resource.id.kind));
    let others: Vec<&Resource> =
        known.values().copied().filter(|resource| resource.id.kind != kind).filter(through).collect();
    let servers = known.keys().filter(|id| id.kind == kind).map(|id| (*id).clone()).collect();
    let needed = own.flat_map(|(_, run)| target.map(|target| target.prerequisites(run)).unwrap_or_default()).collect();
    let inquiry = Inquiry { servers, others, needed };
    match tokio::time::timeout(ANSWER, driver.observe(scope, inquiry.clone())).await {
        Ok(findings) => findings,
        Err(_) => {
            let why = format!("{} did not answer within {} s", driver.system(), ANSWER.as_secs());
            Findings::unseen(kind, inquiry, &Unseen::new(why))
        }
    }
}
