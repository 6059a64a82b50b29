//! Containers, images, networks and volumes, as the engine tells of them.

use crate::live::{Live, LiveRun, Ownership, Presence, RunState};
use crate::resource::{Fingerprint, Health, Kind, Prerequisite, Resource, ResourceId, Spec};
use crate::systems::docker::{self, FINGERPRINT_LABEL, STACK_LABEL, Status};
use crate::systems::{Systems, pulled};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

/// The exit codes of a program that ended on request: its own, and those of the signals.
const ENDED_IN_PEACE: [i64; 3] = [0, 130, 143];

/// Returns every container that carries a stack's mark; none where the engine does not answer.
pub(super) async fn list(systems: &Systems, stack: &str) -> Vec<ResourceId> {
    let Ok(docker) = systems.docker().await else { return Vec::new() };
    let live = docker.stack(stack).containers().await.unwrap_or_default();
    live.into_iter().map(|live| ResourceId::new(Kind::Container, live.name)).collect()
}

/// Looks at containers by their names, whosever they are.
pub(super) async fn inspect_containers(
    systems: &Systems,
    stack: &str,
    ids: Vec<&ResourceId>,
) -> BTreeMap<ResourceId, Presence> {
    let unknown = |error: &docker::Error| Presence::Unknown(said(error));
    let docker = match systems.docker().await {
        Ok(docker) => docker,
        Err(error) => return ids.into_iter().map(|id| (id.clone(), unknown(&error))).collect(),
    };
    let looks = ids.into_iter().map(|id| async move {
        let presence = match docker.stack(stack).find(&id.name).await {
            Ok(None) => Presence::Absent,
            Ok(Some(live)) => Presence::Present(Live::Run(Box::new(run(&live)))),
            Err(error) => unknown(&error),
        };
        (id.clone(), presence)
    });
    join_all(looks).await.into_iter().collect()
}

/// Inspects the prerequisites of servers, and the networks of the stack. What cannot be inspected is missing: to create it
/// says why.
pub(super) async fn prerequisites(
    systems: &Systems,
    stack: &str,
    needed: BTreeSet<Prerequisite>,
) -> (BTreeSet<Prerequisite>, BTreeSet<String>) {
    let docker = systems.docker().await.ok();
    let stack = docker.map(|docker| docker.stack(stack));
    let networks = match stack {
        Some(stack) => stack.networks().await.unwrap_or_default(),
        None => Vec::new(),
    };
    let networks: BTreeSet<String> = networks.into_iter().collect();
    let looks = needed.into_iter().map(|prerequisite| {
        let networks = &networks;
        async move {
            let there = match (&prerequisite, stack) {
                (Prerequisite::Network(name), _) => networks.contains(name),
                (Prerequisite::Volume(name), Some(stack)) => stack.has_volume(name).await.unwrap_or_default(),
                (Prerequisite::Volume(_), None) => false,
                (Prerequisite::Folder(path), _) => path.exists(),
            };
            there.then_some(prerequisite)
        }
    });
    let there = join_all(looks).await.into_iter().flatten().collect();
    (there, networks)
}

/// Looks at every image of `resources`.
pub(super) async fn inspect_images<'a>(
    systems: &Systems,
    resources: impl Iterator<Item = &'a Resource>,
) -> BTreeMap<ResourceId, Presence> {
    let images: Vec<_> = resources
        .filter_map(|resource| if let Spec::Image(image) = &resource.spec { Some((&resource.id, image)) } else { None })
        .collect();
    if images.is_empty() {
        return BTreeMap::new();
    }
    let docker = match systems.docker().await {
        Ok(docker) => docker,
        Err(error) => return images.into_iter().map(|(id, _)| (id.clone(), Presence::Unknown(said(&error)))).collect(),
    };
    let records = match pulled::all(&systems.images, Kind::Image) {
        Ok(records) => records,
        Err(error) => {
            return images.into_iter().map(|(id, _)| (id.clone(), Presence::Unknown(error.to_string()))).collect();
        }
    };
    // An image pulled by its tag is managed by its digest too.
    let looks = images.into_iter().map(|(id, image)| {
        let records = &records;
        async move {
            let presence = match docker.image(&image.name.to_string()).await {
                Ok(None) => Presence::Absent,
                Ok(Some(there)) => {
                    let content = there.digest_at(&image.name);
                    let same = |(known, record): &(ResourceId, pulled::Pulled)| {
                        known == id || (content.is_some() && record.sha256 == content)
                    };
                    Presence::Present(Live::Image { managed: records.iter().any(same) })
                }
                Err(error) => Presence::Unknown(said(&error)),
            };
            (id.clone(), presence)
        }
    });
    join_all(looks).await.into_iter().collect()
}

fn said(error: &docker::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn run(live: &docker::Live) -> LiveRun {
    let peaceful = live.exit_code.is_none_or(|code| ENDED_IN_PEACE.contains(&code)) && !live.oom_killed;
    let phase = match live.status {
        Status::Running => RunState::Running,
        Status::Restarting => RunState::BackingOff,
        Status::Created if live.error.is_some() => RunState::Failed,
        Status::Exited if !peaceful => RunState::Failed,
        Status::Dead => RunState::Failed,
        Status::Created | Status::Paused | Status::Removing | Status::Exited | Status::Unknown => RunState::Stopped,
    };
    let fingerprint = live.labels.get(FINGERPRINT_LABEL).and_then(|text| Fingerprint::parse(text));
    let definition = live.labels.get(STACK_LABEL).zip(fingerprint.clone());
    let reported = Some(live.health(&[])).filter(|health| phase == RunState::Running && *health != Health::Healthy);
    LiveRun {
        definition: definition.map(|(stack, fingerprint)| Ownership {
            stack: stack.clone(),
            fingerprint,
            intact: true,
        }),
        loaded: true,
        enabled: true,
        phase,
        running: fingerprint.filter(|_| phase == RunState::Running),
        identity: live.started_at.as_ref().map(|at| format!("{} {at}", live.id)).filter(|_| phase == RunState::Running),
        restarts: live.restarts,
        why: (phase != RunState::Running).then(|| live.ended()),
        memory: None,
        memory_limit: live.limits.memory,
        socket_handoff: false,
        orphaned_instances: false,
        asleep: false,
        reported,
        health: None,
    }
}
