//! Servers that stand aside: another has taken, or takes, the place of each, because it cannot be changed.

use crate::live::{Managed, Observation};
use crate::resolve::Desired;
use crate::resource::Resource;
use crate::targets;

/// Returns what stands aside for a server, if it is managed, and whether it is as declared.
pub(super) fn aside(desired: &Desired, observed: &Observation, resource: &Resource) -> Option<(Managed, bool)> {
    let id = targets::previous(&resource.id).filter(|id| !desired.resources.contains_key(id))?;
    let managed = Managed::prove(&desired.stack, &id, observed.resources.get(&id)?)?;
    let claim = observed.run(&id)?.definition.as_ref()?;
    Some((managed, claim.intact && claim.fingerprint == resource.fingerprint()))
}

/// Returns what stands aside for a server, if it is managed.
pub(super) fn left_aside(desired: &Desired, observed: &Observation, resource: &Resource) -> Option<Managed> {
    aside(desired, observed, resource).map(|(managed, _)| managed)
}
