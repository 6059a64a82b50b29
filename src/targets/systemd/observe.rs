//! Units of the user manager, as it and their files report them.

use super::super::driver::Scope;
use super::ended::why;
use super::instances::{self, LIMIT};
use super::settings;
use crate::live::{Effective, Instances, Live, LiveRun, Ownership, Presence, RunState, Unseen};
use crate::render::marker;
use crate::resource::{Bytes, Fingerprint, Kind, ResourceId};
use crate::systems::systemd::{self, ActiveState, LoadState, Unit, boot};
use crate::systems::{Connection as _, Systems, files, proc, unknown, unseen};
use llamero_core::targets::systemd::lower::{instance_name, socket_name, unit_name};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Adds the units that carry the stack's ownership marker. An instance is part of the server whose name it bears:
/// returns the servers that there are instances of.
pub(super) fn list(scope: Scope<'_>, live: &mut BTreeSet<ResourceId>) -> Result<BTreeSet<ResourceId>, files::Error> {
    let Scope { systems, stack } = scope;
    let mut with_instances = BTreeSet::new();
    for name in files::names(&systems.units)? {
        let Some(unit) = name.strip_suffix(".service") else { continue };
        let id = ResourceId::new(Kind::Unit, unit);
        if live.contains(&id) {
            continue;
        }
        if let Some(server) = server_of_instance(unit).filter(|server| live.contains(server)) {
            with_instances.insert(server);
            continue;
        }
        let text = files::read_text(&systems.unit_file(&id), LIMIT).ok().flatten();
        if text.and_then(|text| marker::read(&text)).is_some_and(|marker| marker.stack == stack) {
            live.insert(id);
        }
    }
    Ok(with_instances)
}

/// Returns the server that a unit is an instance of, by its name.
fn server_of_instance(unit: &str) -> Option<ResourceId> {
    let (name, number) = unit.rsplit_once('-')?;
    number.parse::<u64>().ok().map(|_| ResourceId::new(Kind::Unit, name))
}

/// Inspects units by their names.
pub(super) async fn inspect(scope: Scope<'_>, units: Vec<&ResourceId>) -> BTreeMap<ResourceId, Presence> {
    let Scope { systems, stack } = scope;
    if units.is_empty() {
        return BTreeMap::new();
    }
    let sockets = units.iter().filter(|id| instances::current(systems, id).is_some()).map(|id| socket_name(id));
    let names: Vec<String> = units.iter().map(|id| unit_name(id)).chain(sockets).collect();
    let mut states = match states(systems, &names).await {
        Ok(states) => states,
        Err(error) => {
            return units.into_iter().map(|id| (id.clone(), unknown(&error))).collect();
        }
    };
    let inspected = units.into_iter().zip(&names).map(|(id, name)| {
        let (state, socket) = (states.remove(name), states.remove(&socket_name(id)));
        let mut presence = unit(systems, stack, id, state);
        if let (Presence::Present(Live::Run(run)), Some(Ok(socket))) = (&mut presence, socket) {
            run.socket_down = socket_down(&socket);
        }
        (id.clone(), presence)
    });
    inspected.collect()
}

/// Returns the state of each unit. Where the connection turns out to be gone, they are asked for once more over
/// another.
async fn states(
    systems: &Systems,
    names: &[String],
) -> Result<BTreeMap<String, Result<Unit, systemd::Error>>, systemd::Error> {
    let systemd = systems.systemd().await?;
    let states = systemd.units(names).await;
    if systemd.is_usable() {
        return Ok(states);
    }
    Ok(systems.systemd().await?.units(names).await)
}

/// Inspects the instances of servers; an error says why one cannot be inspected.
pub(super) async fn instances(
    scope: Scope<'_>,
    servers: Vec<&ResourceId>,
) -> BTreeMap<ResourceId, Result<Instances, Unseen>> {
    let mut live = BTreeMap::new();
    for id in servers {
        let inspected = match scope.systems.systemd().await {
            Ok(systemd) => instances::inspect(scope, &systemd, id).await.map_err(Unseen::new),
            Err(error) => Err(unseen(&error)),
        };
        live.insert(id.clone(), inspected);
    }
    live
}

fn unit(systems: &Systems, stack: &str, id: &ResourceId, state: Option<Result<Unit, systemd::Error>>) -> Presence {
    let unit = match state {
        Some(Ok(unit)) => unit,
        Some(Err(error)) => return unknown(&error),
        None => return Presence::Unknown(Unseen::new("systemd says nothing of it")),
    };
    let text = match files::read_text(&systems.unit_file(id), LIMIT) {
        Ok(text) => text,
        Err(error) => return unknown(&error),
    };
    if let Some(socket) = unmanaged_socket(systems, stack, id) {
        let why = format!("{} exists and is not managed by llamero", socket.display());
        return Presence::Unknown(Unseen::new(why));
    }
    let mut live = live_unit(&unit);
    live.socket_handoff = instances::current(systems, id).is_some();
    live.enabled = boot::is_enabled(&systems.units, &unit_name(id));
    live.effective = settings::effective(&unit);
    match text {
        Some(text) => {
            live.definition = marker::read(&text).filter(|marker| marker.resource == *id).map(|marker| Ownership {
                stack: marker.stack,
                fingerprint: marker.fingerprint,
                intact: marker.intact,
            });
            if live.running.is_none() && started_since(&unit, &systems.unit_file(id)) {
                live.running = live.definition.as_ref().map(|claim| claim.fingerprint.clone());
            }
        }
        // Where the manager has not read again since, it still knows the file that was there.
        None if !live.is_up()
            && let Some(definition) = definition_of_orphan(systems, stack, id) =>
        {
            // Its parts are there, and its name does not lead to one.
            (live.definition, live.loaded, live.socket_handoff) = (Some(definition), true, true);
        }
        None if !live.is_up() && (unit.load_state == LoadState::NotFound || is_at(&unit, &systems.unit_file(id))) => {
            return Presence::Absent;
        }
        // Its file was removed while it ran, and it runs on. Its process still says whose it is, or the manager does.
        None => live.definition = orphan(stack, id, &unit),
    }
    Presence::Present(Live::Run(Box::new(live)))
}

/// Returns the socket unit of a server's name, where another program created it: it would start the server, and its
/// place is where a server that hands its port on has its own.
fn unmanaged_socket(systems: &Systems, stack: &str, id: &ResourceId) -> Option<PathBuf> {
    let path = systems.units.join(socket_name(id));
    let text = files::read_text(&path, LIMIT).ok()??;
    let managed = marker::read(&text).is_some_and(|marker| marker.stack == stack && marker.resource == *id);
    (!managed).then_some(path)
}

/// Returns the ownership marker of the last instance of a server.
fn definition_of_orphan(systems: &Systems, stack: &str, id: &ResourceId) -> Option<Ownership> {
    let number = instances::managed(Scope { systems, stack }, id).ok()?.pop()?;
    let text = files::read_text(&systems.units.join(instance_name(id, number)), LIMIT).ok()??;
    let marker = marker::read(&text)?;
    Some(Ownership { stack: marker.stack, fingerprint: marker.fingerprint, intact: marker.intact })
}

/// Returns why a socket does not listen; `None` where it does.
fn socket_down(socket: &Unit) -> Option<String> {
    match (&socket.active_state, socket.result.as_str()) {
        (ActiveState::Active | ActiveState::Activating | ActiveState::Reloading, _) => None,
        (ActiveState::Failed, result) => Some(format!("it failed ({result})")),
        (state, _) => Some(format!("it is {state}")),
    }
}

fn is_at(unit: &Unit, file: &Path) -> bool {
    unit.fragment_path.as_deref().is_some_and(|fragment| Path::new(fragment) == file)
}

/// Returns whether a process was started after its unit's file was written. It shows which definition runs where the
/// process itself does not: Redis writes its title over its environment.
fn started_since(unit: &Unit, file: &Path) -> bool {
    let written = files::stamp(file).ok().flatten().map(|(_, changed)| changed / 1000);
    written.is_some_and(|written| i128::from(unit.exec_main_start) > written)
}

fn orphan(stack: &str, id: &ResourceId, unit: &Unit) -> Option<Ownership> {
    let of_process = |name| unit.main_pid.and_then(|pid| proc::variable(pid, name));
    let of_manager = |name| {
        let mut set = unit.environment.iter().filter_map(|variable| variable.split_once('='));
        set.find(|(other, _)| *other == name).map(|(_, value)| value.to_owned())
    };
    let read = |name| of_process(name).or_else(|| of_manager(name));
    let managed = read(proc::RESOURCE)? == format!("{stack}/{id}");
    let fingerprint = Fingerprint::parse(&read(proc::FINGERPRINT)?).filter(|_| managed)?;
    Some(Ownership { stack: stack.to_owned(), fingerprint, intact: false })
}

fn live_unit(unit: &Unit) -> LiveRun {
    let phase = match (&unit.active_state, unit.sub_state.as_str()) {
        (ActiveState::Active | ActiveState::Reloading, _) => RunState::Running,
        (ActiveState::Activating, "auto-restart" | "auto-restart-queued") => RunState::BackingOff,
        (ActiveState::Activating, _) => RunState::Starting,
        // What does not run has no other job than to start: an earlier apply may have asked for it.
        (ActiveState::Failed | ActiveState::Inactive, _) if unit.has_job => RunState::Starting,
        (ActiveState::Failed, _) => RunState::Failed,
        _ => RunState::Stopped,
    };
    LiveRun {
        definition: None,
        loaded: !unit.need_daemon_reload && unit.load_state == LoadState::Loaded,
        enabled: false,
        phase,
        running: unit.main_pid.and_then(proc::fingerprint_of),
        identity: unit.invocation_id.clone().filter(|_| phase == RunState::Running),
        restarts: unit.restarts,
        why: if phase == RunState::Running { None } else { why(unit) },
        memory: unit.memory_current.map(Bytes),
        memory_limit: unit.memory_max.map(Bytes),
        socket_handoff: false,
        socket_down: None,
        asleep: false,
        reported: None,
        health: None,
        effective: Effective::default(),
    }
}
