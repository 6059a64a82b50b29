//! Values of secrets that cannot be read: a plan assumes those in force.

use crate::history::{Error, History};
use crate::live::{Live, LiveFile, Observation, Presence};
use crate::resolve::Desired;
use crate::resource::{Content, Fingerprint, Resource, ResourceId, Spec};
use crate::systems::store::Store;

/// Takes for each unknown secret the value in force: the one with which the live file was written, or else the one of
/// the committed generation. A change that is planned all the same is certain.
pub(super) fn assume<S: Store>(
    history: &History<S>,
    desired: &mut Desired,
    observed: &Observation,
    inventory: &[Resource],
) -> Result<(), Error> {
    if desired.unknown.is_empty() {
        return Ok(());
    }
    let committed = history.committed()?.map(|committed| committed.revision);
    let committed = committed.as_ref().map(|revision| &revision.desired.resources);
    desired.assume_unknown(|declared| {
        let id = &declared.id;
        let committed = committed.and_then(|committed| committed.get(id));
        let other = inventory.iter().find(|resource| resource.id == *id);
        let written = written(observed, id);
        let is_live = |resource: &&Resource| Some(&resource.fingerprint()) == written;
        let candidates = || committed.into_iter().chain(other);
        candidates().find(is_live).or_else(|| candidates().next()).and_then(content)
    });
    Ok(())
}

/// Returns the fingerprint that a live file was written with.
fn written<'a>(observed: &'a Observation, id: &ResourceId) -> Option<&'a Fingerprint> {
    match observed.resources.get(id)? {
        Presence::Present(Live::File(LiveFile { marker, .. })) => marker.as_ref().map(|claim| &claim.fingerprint),
        _ => None,
    }
}

fn content(resource: &Resource) -> Option<&Content> {
    match &resource.spec {
        Spec::File(file) => Some(&file.content),
        _ => None,
    }
}
