//! The instances of a server that hands its socket off, as their files and the manager report them.

use super::super::driver::Scope;
use crate::live::{InstanceState, Instances};
use crate::render::marker;
use crate::resource::{Bytes, ResourceId};
use crate::systems::systemd::{ActiveState, LoadState, Systemd};
use crate::systems::{Systems, files};
use llamero_core::targets::systemd::lower as unit;
use std::path::PathBuf;

/// The largest unit file that is read, in bytes.
pub(super) const LIMIT: Bytes = Bytes(1 << 20);

/// Returns the name under which the manager knows what runs a server.
pub(super) fn running_unit(systems: &Systems, id: &ResourceId) -> String {
    current(systems, id).map_or_else(|| unit::unit_name(id), |number| unit::instance_name(id, number))
}

/// Returns the number of the current instance.
pub(super) fn current(systems: &Systems, id: &ResourceId) -> Option<u64> {
    let target = files::link_target(&systems.unit_file(id)).ok().flatten()?;
    number(id, &target.file_name()?.to_string_lossy())
}

/// Returns the number of an instance from the name of its unit file.
fn number(id: &ResourceId, name: &str) -> Option<u64> {
    name.strip_prefix(&format!("{}-", id.name))?.strip_suffix(".service")?.parse().ok()
}

/// Returns the numbers of the instances whose unit files carry the stack's ownership marker.
pub(super) fn managed(scope: Scope<'_>, id: &ResourceId) -> Result<Vec<u64>, files::Error> {
    let mut managed = Vec::new();
    for name in files::names(&scope.systems.units)? {
        let Some(number) = number(id, &name) else { continue };
        let text = files::read_text(&scope.systems.units.join(&name), LIMIT)?;
        let marker = text.and_then(|text| marker::read(&text));
        if marker.is_some_and(|marker| marker.resource == *id && marker.stack == scope.stack) {
            managed.push(number);
        }
    }
    managed.sort_unstable();
    Ok(managed)
}

/// Inspects the instances of a server; an error says why they cannot be inspected.
pub(super) async fn inspect(scope: Scope<'_>, systemd: &Systemd, id: &ResourceId) -> Result<Instances, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let current = current(scope.systems, id);
    let managed = managed(scope, id).map_err(|error| text(&error))?;
    let mut live = Instances { current, ..Instances::default() };
    for number in managed.iter().filter(|number| Some(**number) != current) {
        let unit = systemd.unit(&unit::instance_name(id, *number)).await.map_err(|error| text(&error))?;
        let state = match () {
            () if !unit.runs() => InstanceState::Defined,
            () if unit.reports("accepting") || unit.reports("draining") => InstanceState::Serving,
            () => InstanceState::Started,
        };
        live.others.insert(*number, state);
    }
    live.next = managed.last().copied().max(current).map_or(1, |last| last + 1);
    // The number of an instance that drains, or of another program's unit, is not free.
    loop {
        let name = unit::instance_name(id, live.next);
        let file: PathBuf = scope.systems.units.join(&name);
        let unit = systemd.unit(&name).await.map_err(|error| text(&error))?;
        let free = unit.is_idle() && unit.load_state == LoadState::NotFound;
        if free && files::stamp(&file).map_err(|error| text(&error))?.is_none() {
            break;
        }
        live.next += 1;
    }
    let socket = systemd.unit(&unit::socket_name(id)).await.map_err(|error| text(&error))?;
    live.listens = socket.active_state == ActiveState::Active;
    Ok(live)
}
