//! Looks at servers, whichever runtime they have.

use crate::observed::{Claim, Found, FoundRun, Phase, Seen};
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
pub async fn look(systems: &Systems, stack: &str, id: &ResourceId) -> Seen {
    let seen = look_at_all(systems, stack, &BTreeSet::from([id.clone()])).await;
    seen.into_values().next().unwrap_or(Seen::Absent)
}

/// Looks at several servers at once.
pub(super) async fn look_at_all(
    systems: &Systems,
    stack: &str,
    ids: &BTreeSet<ResourceId>,
) -> BTreeMap<ResourceId, Seen> {
    let of = |kind: Kind| ids.iter().filter(move |id| id.kind == kind).collect::<Vec<&ResourceId>>();
    let (units, containers) = (of(Kind::Unit), of(Kind::Container));
    let mut seen: BTreeMap<ResourceId, Seen> = BTreeMap::new();
    if !containers.is_empty() {
        seen.extend(super::container::look_at_containers(systems, stack, containers).await);
    }
    for id in of(Kind::Process) {
        seen.insert(
            id.clone(),
            match systems.processes.state(&id.name) {
                Err(process::Error::Missing(_)) => Seen::Absent,
                Ok(process) => Seen::Present(Found::Run(Box::new(found_process(&process)))),
                Err(error) => Seen::Unknown(error.to_string()),
            },
        );
    }
    if units.is_empty() {
        return seen;
    }
    let names: Vec<String> = units.iter().map(|id| unit_name(id)).collect();
    match systems.systemd().await {
        Ok(systemd) => {
            let mut states = systemd.units(&names).await;
            for (id, name) in units.into_iter().zip(&names) {
                let state = states.remove(name);
                seen.insert(id.clone(), unit(systems, stack, id, state));
            }
        }
        Err(error) => {
            for id in units {
                seen.insert(id.clone(), Seen::Unknown(error.to_string()));
            }
        }
    }
    seen
}

fn unit(systems: &Systems, stack: &str, id: &ResourceId, state: Option<Result<Unit, systemd::Error>>) -> Seen {
    let unit = match state {
        Some(Ok(unit)) => unit,
        Some(Err(error)) => return Seen::Unknown(error.to_string()),
        None => return Seen::Unknown("systemd says nothing of it".to_owned()),
    };
    let text = match files::read_text(&systems.unit_file(id), LIMIT) {
        Ok(text) => text,
        Err(error) => return Seen::Unknown(error.to_string()),
    };
    if let Some(socket) = strangers_socket(systems, stack, id) {
        return Seen::Unknown(format!("{} is there already and was not made by llamero", socket.display()));
    }
    let mut found = found_unit(&unit);
    (found.hands_on, found.strays) = instances(systems, id);
    if found.hands_on {
        let wants = systems.units.join("default.target.wants").join(unit_name(id));
        found.enabled = matches!(files::link_target(&wants), Ok(Some(_)));
    }
    match text {
        Some(text) => {
            found.definition = marker::read(&text).filter(|marker| marker.resource == *id).map(|marker| Claim {
                stack: marker.stack,
                fingerprint: marker.fingerprint,
                intact: marker.intact,
            });
            if found.running.is_none() && started_since(&unit, &systems.unit_file(id)) {
                found.running = found.definition.as_ref().map(|claim| claim.fingerprint.clone());
            }
        }
        // Where the manager has not read again since, it still knows the file that was there.
        None if !found.is_up() && (unit.load_state == LoadState::NotFound || is_at(&unit, &systems.unit_file(id))) => {
            return Seen::Absent;
        }
        // Its file was removed while it ran, and it runs on. Its process still says whose it is.
        None => found.definition = orphan(stack, id, unit.main_pid, &found),
    }
    Seen::Present(Found::Run(Box::new(found)))
}

/// Returns the socket unit of a server's name, where somebody else made it: it would start the server, and its place is
/// where a server that hands its port on has its own.
fn strangers_socket(systems: &Systems, stack: &str, id: &ResourceId) -> Option<PathBuf> {
    let path = systems.units.join(socket_name(id));
    let text = files::read_text(&path, LIMIT).ok()??;
    let ours = marker::read(&text).is_some_and(|marker| marker.stack == stack && marker.resource == *id);
    (!ours).then_some(path)
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

fn orphan(stack: &str, id: &ResourceId, pid: Option<u32>, found: &FoundRun) -> Option<Claim> {
    let ours = proc::variable(pid?, proc::RESOURCE)? == format!("{stack}/{id}");
    let fingerprint = found.running.clone().filter(|_| ours)?;
    Some(Claim { stack: stack.to_owned(), fingerprint, intact: false })
}

fn found_unit(unit: &Unit) -> FoundRun {
    let phase = match (&unit.active_state, unit.sub_state.as_str()) {
        (ActiveState::Active | ActiveState::Reloading, _) => Phase::Running,
        (ActiveState::Activating, "auto-restart" | "auto-restart-queued") => Phase::BackingOff,
        (ActiveState::Activating, _) => Phase::Starting,
        (ActiveState::Failed, _) => Phase::Failed,
        _ => Phase::Stopped,
    };
    FoundRun {
        definition: None,
        loaded: !unit.need_daemon_reload && unit.load_state == LoadState::Loaded,
        enabled: matches!(unit.file_state.as_str(), "enabled" | "enabled-runtime" | "linked" | "alias" | "static"),
        phase,
        running: unit.main_pid.and_then(proc::fingerprint_of),
        identity: unit.invocation_id.clone().filter(|_| phase == Phase::Running),
        restarts: unit.restarts,
        why: if phase == Phase::Running { None } else { why(unit) },
        memory: unit.memory_current.map(Bytes),
        memory_limit: unit.memory_max.map(Bytes),
        hands_on: false,
        strays: false,
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

fn found_process(process: &ProcessState) -> FoundRun {
    let exit = || process.exit.map(|exit| exit.to_string());
    let (phase, why) = match process.phase {
        process::Phase::Starting => (Phase::Starting, None),
        process::Phase::Running => (Phase::Running, None),
        process::Phase::BackingOff => (Phase::BackingOff, exit()),
        process::Phase::Stopped => (Phase::Stopped, None),
        process::Phase::Exited => (Phase::Stopped, exit()),
        process::Phase::Failed => (Phase::Failed, process.problem.clone().or_else(exit)),
    };
    let launch = &process.launch;
    let claim = Claim { stack: launch.stack.clone(), fingerprint: launch.fingerprint.clone(), intact: true };
    FoundRun {
        definition: Some(claim),
        // Without its supervisor nobody would start it again.
        enabled: process.supervised || phase != Phase::Running,
        phase,
        // A launch is only written while nothing runs, so what runs is the launch.
        running: process.running_fingerprint.clone().or_else(|| process.pid.map(|_| launch.fingerprint.clone())),
        identity: process.identity.clone(),
        restarts: process.restarts,
        memory: process.pid.and_then(proc::memory),
        why,
        ..FoundRun::stopped()
    }
}
