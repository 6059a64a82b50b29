//! Looks at servers, whichever runtime they have.

use crate::observed::{Claim, Found, FoundRun, Phase, Seen};
use crate::render::marker;
use crate::resource::{Bytes, Kind, ResourceId};
use crate::systems::process::{Process, Stage};
use crate::systems::systemd::{self, ActiveState, LoadState, Unit};
use crate::systems::{Systems, files, proc};
use std::collections::{BTreeMap, BTreeSet};

/// The largest unit file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

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
    let (units, processes): (Vec<&ResourceId>, Vec<&ResourceId>) = ids.iter().partition(|id| id.kind == Kind::Unit);
    let mut seen: BTreeMap<ResourceId, Seen> = BTreeMap::new();
    for id in processes {
        seen.insert(
            id.clone(),
            match systems.processes.state(&id.name) {
                Ok(None) => Seen::Absent,
                Ok(Some(process)) => Seen::Present(Found::Run(Box::new(found_process(&process)))),
                Err(error) => Seen::Unknown(error.to_string()),
            },
        );
    }
    if units.is_empty() {
        return seen;
    }
    let names: Vec<String> = units.iter().map(|id| systems.unit_name(id)).collect();
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
    let text = match files::read(&systems.unit_file(id), LIMIT) {
        Ok(text) => text,
        Err(error) => return Seen::Unknown(error.to_string()),
    };
    let mut found = found_unit(&unit);
    match text {
        Some(text) => {
            found.definition = marker::read(&text).map(|marker| Claim {
                stack: marker.stack,
                fingerprint: marker.fingerprint,
                intact: marker.intact,
            });
        }
        None if unit.load == LoadState::NotFound && !found.is_up() => return Seen::Absent,
        // Its file was removed while it ran, and it runs on. Its process still says whose it is.
        None => found.definition = orphan(stack, id, unit.main_pid, &found),
    }
    Seen::Present(Found::Run(Box::new(found)))
}

fn orphan(stack: &str, id: &ResourceId, pid: u32, found: &FoundRun) -> Option<Claim> {
    let ours = proc::variable(pid, proc::RESOURCE)? == format!("{stack}/{id}");
    let fingerprint = found.running.clone().filter(|_| ours)?;
    Some(Claim { stack: stack.to_owned(), fingerprint, intact: false })
}

fn found_unit(unit: &Unit) -> FoundRun {
    let phase = match (&unit.active, unit.sub.as_str()) {
        (ActiveState::Active, _) => Phase::Running,
        (ActiveState::Activating, "auto-restart" | "auto-restart-queued") => Phase::BackingOff,
        (ActiveState::Activating, _) => Phase::Starting,
        (ActiveState::Failed, _) => Phase::Failed,
        (ActiveState::Inactive | ActiveState::Deactivating, _) => Phase::Stopped,
    };
    let known = |bytes: u64| (bytes != u64::MAX).then_some(Bytes(bytes));
    FoundRun {
        definition: None,
        loaded: !unit.needs_reload && unit.load == LoadState::Loaded,
        enabled: matches!(unit.file_state.as_str(), "enabled" | "enabled-runtime" | "linked" | "alias" | "static"),
        phase,
        running: (unit.main_pid != 0).then(|| proc::fingerprint(unit.main_pid)).flatten(),
        identity: (phase == Phase::Running).then(|| unit.invocation.clone()),
        restarts: unit.restarts,
        why: if phase == Phase::Running { None } else { unit.why() },
        memory: known(unit.memory_current),
        memory_limit: known(unit.memory_max),
        health: None,
    }
}

fn found_process(process: &Process) -> FoundRun {
    let (phase, why) = match process.stage {
        Stage::Starting => (Phase::Starting, None),
        Stage::Running => (Phase::Running, None),
        Stage::BackingOff => (Phase::BackingOff, process.exit.map(|exit| exit.to_string())),
        Stage::Stopped => (Phase::Stopped, None),
        Stage::Exited => (Phase::Stopped, process.exit.map(|exit| exit.to_string())),
        Stage::Failed => (Phase::Failed, process.exit.map(|exit| exit.to_string())),
        Stage::Lost => (Phase::Stopped, Some("it and its supervisor are gone".to_owned())),
    };
    let launch = &process.launch;
    let claim = Claim { stack: launch.stack.clone(), fingerprint: launch.fingerprint.clone(), intact: true };
    FoundRun {
        definition: Some(claim),
        phase,
        running: process.running.clone(),
        identity: process.process.as_ref().map(|process| format!("{}:{}", process.pid, process.start)),
        restarts: process.restarts,
        why,
        ..FoundRun::stopped()
    }
}
