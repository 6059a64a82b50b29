//! Looks at servers, whichever runtime they have.

use crate::live::{Live, LiveRun, Ownership, Presence, RunState};
use crate::render::marker;
use crate::render::unit::{socket_name, unit_name};
use crate::resource::{Bytes, Kind, ResourceId};
use crate::systems::process::{self, ProcessState};
use crate::systems::systemd::{self, ActiveState, LoadState, Unit};
use crate::systems::{Systems, files, proc};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The largest unit file that is read, in bytes.
const LIMIT: Bytes = Bytes(1 << 20);

/// Looks at one server.
pub async fn inspect(systems: &Systems, stack: &str, id: &ResourceId) -> Presence {
    let presence = inspect_all(systems, stack, &BTreeSet::from([id.clone()])).await;
    presence.into_values().next().unwrap_or(Presence::Absent)
}

/// Looks at several servers at once.
pub(super) async fn inspect_all(
    systems: &Systems,
    stack: &str,
    ids: &BTreeSet<ResourceId>,
) -> BTreeMap<ResourceId, Presence> {
    let of = |kind: Kind| ids.iter().filter(move |id| id.kind == kind).collect::<Vec<&ResourceId>>();
    let (units, containers) = (of(Kind::Unit), of(Kind::Container));
    let mut presence: BTreeMap<ResourceId, Presence> = BTreeMap::new();
    if !containers.is_empty() {
        presence.extend(super::container::inspect_containers(systems, stack, containers).await);
    }
    for id in of(Kind::Process) {
        presence.insert(
            id.clone(),
            match systems.processes.state(&id.name) {
                Err(process::Error::Missing(_)) => Presence::Absent,
                Ok(process) => Presence::Present(Live::Run(Box::new(live_process(&process)))),
                Err(error) => Presence::Unknown(error.to_string()),
            },
        );
    }
    if units.is_empty() {
        return presence;
    }
    let names: Vec<String> = units.iter().map(|id| unit_name(id)).collect();
    match systems.systemd().await {
        Ok(systemd) => {
            let mut states = systemd.units(&names).await;
            for (id, name) in units.into_iter().zip(&names) {
                let state = states.remove(name);
                presence.insert(id.clone(), unit(systems, stack, id, state));
            }
        }
        Err(error) => {
            for id in units {
                presence.insert(id.clone(), Presence::Unknown(error.to_string()));
            }
        }
    }
    presence
}

fn unit(systems: &Systems, stack: &str, id: &ResourceId, state: Option<Result<Unit, systemd::Error>>) -> Presence {
    let unit = match state {
        Some(Ok(unit)) => unit,
        Some(Err(error)) => return Presence::Unknown(error.to_string()),
        None => return Presence::Unknown("systemd says nothing of it".to_owned()),
    };
    let text = match files::read_text(&systems.unit_file(id), LIMIT) {
        Ok(text) => text,
        Err(error) => return Presence::Unknown(error.to_string()),
    };
    if let Some(socket) = unmanaged_socket(systems, stack, id) {
        return Presence::Unknown(format!("{} is there already and was not made by llamero", socket.display()));
    }
    let mut live = live_unit(&unit);
    (live.socket_handoff, live.orphaned_instances) = instances(systems, id);
    if live.socket_handoff {
        let wants = systems.units.join("default.target.wants").join(unit_name(id));
        live.enabled = matches!(files::link_target(&wants), Ok(Some(_)));
    }
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
        None if !live.is_up() && (unit.load_state == LoadState::NotFound || is_at(&unit, &systems.unit_file(id))) => {
            return Presence::Absent;
        }
        // Its file was removed while it ran, and it runs on. Its process still says whose it is.
        None => live.definition = orphan(stack, id, unit.main_pid, &live),
    }
    Presence::Present(Live::Run(Box::new(live)))
}

/// Returns the socket unit of a server's name, where somebody else made it: it would start the server, and its place is
/// where a server that hands its port on has its own.
fn unmanaged_socket(systems: &Systems, stack: &str, id: &ResourceId) -> Option<PathBuf> {
    let path = systems.units.join(socket_name(id));
    let text = files::read_text(&path, LIMIT).ok()??;
    let managed = marker::read(&text).is_some_and(|marker| marker.stack == stack && marker.resource == *id);
    (!managed).then_some(path)
}

/// Returns whether a server hands its port on, and whether there are instances of it besides the current one.
fn instances(systems: &Systems, id: &ResourceId) -> (bool, bool) {
    let Ok(Some(current)) = files::link_target(&systems.unit_file(id)) else { return (false, false) };
    let current = current.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_instance = |name: &str| {
        let number = name.strip_prefix(&format!("{}-", id.name)).and_then(|rest| rest.strip_suffix(".service"));
        number.is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let is_ours = |name: &str| {
        let text = files::read_text(&systems.units.join(name), LIMIT).ok().flatten();
        text.and_then(|text| marker::read(&text)).is_some_and(|marker| marker.resource == *id)
    };
    let names = files::names(&systems.units).unwrap_or_default();
    let stray = |name: &String| *name != current && is_instance(name) && is_ours(name);
    (is_instance(&current), names.iter().any(stray))
}

fn is_at(unit: &Unit, file: &Path) -> bool {
    unit.fragment_path.as_deref().is_some_and(|fragment| Path::new(fragment) == file)
}

/// Returns whether a process was started after its unit's file was written. It tells which definition runs where the
/// process itself does not: Redis writes its title over its environment.
fn started_since(unit: &Unit, file: &Path) -> bool {
    let written = files::stamp(file).ok().flatten().map(|(_, changed)| changed / 1000);
    written.is_some_and(|written| i128::from(unit.exec_main_start) > written)
}

fn orphan(stack: &str, id: &ResourceId, pid: Option<u32>, live: &LiveRun) -> Option<Ownership> {
    let managed = proc::variable(pid?, proc::RESOURCE)? == format!("{stack}/{id}");
    let fingerprint = live.running.clone().filter(|_| managed)?;
    Some(Ownership { stack: stack.to_owned(), fingerprint, intact: false })
}

fn live_unit(unit: &Unit) -> LiveRun {
    let phase = match (&unit.active_state, unit.sub_state.as_str()) {
        (ActiveState::Active | ActiveState::Reloading, _) => RunState::Running,
        (ActiveState::Activating, "auto-restart" | "auto-restart-queued") => RunState::BackingOff,
        (ActiveState::Activating, _) => RunState::Starting,
        (ActiveState::Failed, _) => RunState::Failed,
        _ => RunState::Stopped,
    };
    LiveRun {
        definition: None,
        loaded: !unit.need_daemon_reload && unit.load_state == LoadState::Loaded,
        enabled: matches!(unit.file_state.as_str(), "enabled" | "enabled-runtime" | "linked" | "alias" | "static"),
        phase,
        running: unit.main_pid.and_then(proc::fingerprint_of),
        identity: unit.invocation_id.clone().filter(|_| phase == RunState::Running),
        restarts: unit.restarts,
        why: if phase == RunState::Running { None } else { why(unit) },
        memory: unit.memory_current.map(Bytes),
        memory_limit: unit.memory_max.map(Bytes),
        socket_handoff: false,
        orphaned_instances: false,
        asleep: false,
        reported: None,
        health: None,
    }
}

/// Returns how a unit's process last ended, in words; `None` when it did not.
fn why(unit: &Unit) -> Option<String> {
    if let Some(error) = &unit.load_error {
        return Some(error.clone());
    }
    Some(match (unit.result.as_str(), unit.exec_main_code, unit.exec_main_status) {
        ("oom-kill", ..) => "it ran out of memory and was killed".to_owned(),
        ("start-limit-hit", ..) => "it ended too often".to_owned(),
        ("timeout", ..) => "it took too long to start or to stop".to_owned(),
        ("success", 0, _) => return None,
        (result, 0, _) => result.to_owned(),
        // systemd.exec(5), process exit codes.
        (_, 1, 203) => "its program cannot be run (status 203)".to_owned(),
        (_, 1, 200) => "its working directory is missing (status 200)".to_owned(),
        (_, 1, status) => format!("exit code {status}"),
        (_, _, signal) => format!("killed by signal {signal}"),
    })
}

fn live_process(process: &ProcessState) -> LiveRun {
    let exit = || process.exit.map(|exit| exit.to_string());
    let (phase, why) = match process.phase {
        process::Phase::Starting => (RunState::Starting, None),
        process::Phase::Running => (RunState::Running, None),
        process::Phase::BackingOff => (RunState::BackingOff, exit()),
        process::Phase::Stopped => (RunState::Stopped, None),
        process::Phase::Exited => (RunState::Stopped, exit()),
        process::Phase::Failed => (RunState::Failed, process.problem.clone().or_else(exit)),
    };
    let launch = &process.launch;
    let claim = Ownership { stack: launch.stack.clone(), fingerprint: launch.fingerprint.clone(), intact: true };
    LiveRun {
        definition: Some(claim),
        // Without its supervisor nobody would start it again.
        enabled: process.supervised || phase != RunState::Running,
        phase,
        // A launch is only written while nothing runs, so what runs is the launch.
        running: process.running_fingerprint.clone().or_else(|| process.pid.map(|_| launch.fingerprint.clone())),
        identity: process.identity.clone(),
        restarts: process.restarts,
        memory: process.pid.and_then(proc::memory),
        why,
        ..LiveRun::stopped()
    }
}
