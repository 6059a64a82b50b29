//! Containers, images, networks and volumes, as the engine reports them.

use super::super::{Findings, Inquiry, Scope};
use crate::live::{Effective, Live, LiveRun, Ownership, Presence, RunState};
use crate::resource::{Fingerprint, Health, ImageSpec, Kind, Limits, Prerequisite, ResourceId, Spec};
use crate::systems::docker::{self, FINGERPRINT_LABEL, STACK_LABEL, Stack, Status};
use crate::systems::{Systems, pulled, with_causes};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

/// The exit codes of a program that ended on request: its own, and those of the signals.
const ENDED_IN_PEACE: [i64; 3] = [0, 130, 143];

/// Observes the containers and images of a stack, and what its containers need; the engine is looked for once.
pub(super) async fn observe(scope: Scope<'_>, inquiry: Inquiry<'_>) -> Findings {
    let Inquiry { servers, others, needed } = inquiry;
    let images: Vec<(&ResourceId, &ImageSpec)> = others
        .into_iter()
        .filter_map(|resource| if let Spec::Image(image) = &resource.spec { Some((&resource.id, image)) } else { None })
        .collect();
    // Where a stack has no container, there need be no engine.
    if servers.is_empty() && images.is_empty() {
        return Findings::default();
    }
    let docker = match scope.systems.docker().await {
        Ok(docker) => docker,
        Err(error) => {
            let ids = servers.into_iter().chain(images.into_iter().map(|(id, _)| id.clone()));
            let resources = ids.map(|id| (id, unknown(&error))).collect();
            return Findings { resources, prerequisites: folders(needed).collect(), ..Findings::default() };
        }
    };
    let stack = docker.stack(scope.stack);
    let (containers, images, (prerequisites, networks)) = tokio::join!(
        containers(stack, servers),
        inspect_images(scope.systems, &docker, images),
        prerequisites(stack, needed),
    );
    let resources = containers.into_iter().chain(images).collect();
    Findings { resources, prerequisites, networks, ..Findings::default() }
}

/// Inspects the containers that carry the stack's ownership marker, and those of `known` names.
async fn containers(stack: Stack<'_>, known: BTreeSet<ResourceId>) -> BTreeMap<ResourceId, Presence> {
    if known.is_empty() {
        return BTreeMap::new();
    }
    let managed = stack.containers().await.unwrap_or_default();
    let present = |live: docker::Live| {
        let presence = Presence::Present(Live::Run(Box::new(run(&live))));
        (ResourceId::new(Kind::Container, live.name), presence)
    };
    let mut found: BTreeMap<ResourceId, Presence> = managed.into_iter().map(present).collect();
    let others = inspect_each(stack, known.iter().filter(|id| !found.contains_key(id))).await;
    found.extend(others);
    found
}

/// Inspects containers by their names, managed or not.
pub(super) async fn inspect_containers(scope: Scope<'_>, ids: Vec<&ResourceId>) -> BTreeMap<ResourceId, Presence> {
    match scope.systems.docker().await {
        Ok(docker) => inspect_each(docker.stack(scope.stack), ids.into_iter()).await,
        Err(error) => ids.into_iter().map(|id| (id.clone(), unknown(&error))).collect(),
    }
}

async fn inspect_each<'a>(
    stack: Stack<'_>,
    ids: impl Iterator<Item = &'a ResourceId>,
) -> BTreeMap<ResourceId, Presence> {
    let inspected = ids.map(|id| async move {
        let presence = match stack.find(&id.name).await {
            Ok(None) => Presence::Absent,
            Ok(Some(live)) => Presence::Present(Live::Run(Box::new(run(&live)))),
            Err(error) => unknown(&error),
        };
        (id.clone(), presence)
    });
    join_all(inspected).await.into_iter().collect()
}

/// Inspects the prerequisites of servers, and the networks of the stack. What cannot be inspected is missing: the
/// attempt to create it reports why.
async fn prerequisites(stack: Stack<'_>, needed: BTreeSet<Prerequisite>) -> (BTreeSet<Prerequisite>, BTreeSet<String>) {
    let networks: BTreeSet<String> = stack.networks().await.unwrap_or_default().into_iter().collect();
    let inspected = needed.iter().map(|prerequisite| {
        let networks = &networks;
        async move {
            let present = match prerequisite {
                Prerequisite::Network(name) => networks.contains(name),
                Prerequisite::Volume(name) => stack.has_volume(name).await.unwrap_or_default(),
                Prerequisite::Folder(path) => path.exists(),
            };
            present.then(|| prerequisite.clone())
        }
    });
    let present = join_all(inspected).await.into_iter().flatten().collect();
    (present, networks)
}

/// Returns the folders that exist.
fn folders(needed: BTreeSet<Prerequisite>) -> impl Iterator<Item = Prerequisite> {
    needed.into_iter().filter(|prerequisite| matches!(prerequisite, Prerequisite::Folder(path) if path.exists()))
}

/// Inspects images.
async fn inspect_images(
    systems: &Systems,
    docker: &docker::Docker,
    images: Vec<(&ResourceId, &ImageSpec)>,
) -> BTreeMap<ResourceId, Presence> {
    if images.is_empty() {
        return BTreeMap::new();
    }
    let records = match pulled::all(&systems.records.images, Kind::Image) {
        Ok(records) => records,
        Err(error) => {
            return images.into_iter().map(|(id, _)| (id.clone(), Presence::Unknown(error.to_string()))).collect();
        }
    };
    // An image that was pulled by its tag is managed by its digest too.
    let inspected = images.into_iter().map(|(id, image)| {
        let records = &records;
        async move {
            let presence = match docker.image(&image.name.to_string()).await {
                Ok(None) => Presence::Absent,
                Ok(Some(live)) => {
                    let content = live.digest_at(&image.name);
                    let same = |(known, record): &(ResourceId, pulled::Pulled)| {
                        known == id || (content.is_some() && record.sha256 == content)
                    };
                    Presence::Present(Live::Image { managed: records.iter().any(same) })
                }
                Err(error) => unknown(&error),
            };
            (id.clone(), presence)
        }
    });
    join_all(inspected).await.into_iter().collect()
}

fn unknown(error: &docker::Error) -> Presence {
    Presence::Unknown(with_causes(error))
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
        asleep: false,
        reported,
        health: None,
        socket_down: None,
        effective: Effective { values: limits(&live.limits), ..Effective::default() },
    }
}

/// Returns the limits in force.
fn limits(limits: &Limits) -> BTreeMap<String, String> {
    let none = || Effective::UNLIMITED.to_owned();
    let memory = limits.memory.map_or_else(none, |memory| memory.0.to_string());
    let cpus = limits.cpu_percent.map_or_else(none, |percent| format!("{percent}%"));
    BTreeMap::from([(Effective::MEMORY.to_owned(), memory), (Effective::CPUS.to_owned(), cpus)])
}
