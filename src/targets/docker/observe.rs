//! Containers, images, networks and volumes, as the engine reports them.

use super::super::driver::{Findings, Inquiry, Scope};
use crate::live::{Effective, Live, LiveRun, Ownership, Part, Presence, RunState, Unseen};
use crate::resource::{Fingerprint, Health, ImageSpec, Kind, Limits, Prerequisite, ResourceId, Spec};
use crate::systems::docker::{self, FINGERPRINT_LABEL, STACK_LABEL, Stack, Status};
use crate::systems::{Systems, pulled, unknown, unseen};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The exit codes of a program that ended on request: its own, and those of the signals.
const ENDED_IN_PEACE: [i64; 3] = [0, 130, 143];

/// Observes the containers and images of a stack, and what its containers need; the engine is looked for once.
pub(super) async fn observe(scope: Scope<'_>, inquiry: Inquiry<'_>) -> Findings {
    let images: Vec<(&ResourceId, &ImageSpec)> = inquiry
        .others
        .iter()
        .copied()
        .filter_map(|resource| if let Spec::Image(image) = &resource.spec { Some((&resource.id, image)) } else { None })
        .collect();
    // Where a stack has no container, there need be no engine.
    if inquiry.servers.is_empty() && images.is_empty() {
        return Findings::default();
    }
    let docker = match scope.systems.docker().await {
        Ok(docker) => docker,
        Err(error) => {
            return Findings::unseen(Kind::Container, inquiry, &unseen(&error));
        }
    };
    let stack = docker.stack(scope.stack);
    let (containers, images, prerequisites) = tokio::join!(
        containers(stack, inquiry.servers),
        inspect_images(scope.systems, &docker, images),
        prerequisites(stack, inquiry.needed),
    );
    let resources = containers.resources.into_iter().chain(images).collect();
    let unseen = containers.unseen.into_iter().chain(prerequisites.unseen).collect();
    Findings { resources, unseen, ..prerequisites }
}

/// Inspects the containers that carry the stack's ownership marker, and those of `known` names.
async fn containers(stack: Stack<'_>, known: BTreeSet<ResourceId>) -> Findings {
    let mut findings = Findings::default();
    if known.is_empty() {
        return findings;
    }
    let managed = stack.containers().await.unwrap_or_else(|error| {
        findings.unseen.insert((Part::Servers(Kind::Container), unseen(&error)));
        Vec::new()
    });
    let present = |live: docker::Live| {
        let presence = Presence::Present(Live::Run(Box::new(run(&live))));
        (ResourceId::new(Kind::Container, live.name), presence)
    };
    let mut found: BTreeMap<ResourceId, Presence> = managed.into_iter().map(present).collect();
    let others = inspect_each(stack, known.iter().filter(|id| !found.contains_key(id))).await;
    found.extend(others);
    findings.resources = found;
    findings
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

/// Inspects the prerequisites of servers, and the networks of the stack.
async fn prerequisites(stack: Stack<'_>, needed: BTreeSet<Prerequisite>) -> Findings {
    let mut findings = Findings::default();
    let networks = match stack.networks().await {
        Ok(networks) => {
            findings.networks = networks.into_iter().collect();
            None
        }
        Err(error) => Some(unseen(&error)),
    };
    findings.unseen.extend(networks.clone().map(|unseen| (Part::Networks(Kind::Container), unseen)));
    let volumes = needed.iter().map(|prerequisite| async {
        match prerequisite {
            Prerequisite::Volume(name) => Some(stack.has_volume(name).await),
            Prerequisite::Network(_) | Prerequisite::Folder(_) => None,
        }
    });
    for (prerequisite, volume) in needed.iter().zip(join_all(volumes).await) {
        let seen = match (prerequisite, volume) {
            (_, Some(seen)) => seen.map_err(|error| unseen(&error)),
            (Prerequisite::Network(name), _) => match &networks {
                None => Ok(findings.networks.contains(name)),
                Some(unseen) => Err(unseen.clone()),
            },
            (Prerequisite::Folder(path), _) => exists(path),
            (Prerequisite::Volume(_), None) => Err(Unseen::not_inspected()),
        };
        match seen {
            Ok(true) => drop(findings.prerequisites.insert(prerequisite.clone())),
            Ok(false) => {}
            Err(unseen) => {
                let part = Part::Prerequisite(Kind::Container, prerequisite.clone());
                findings.unseen.insert((part, unseen));
            }
        }
    }
    findings
}

fn exists(folder: &Path) -> Result<bool, Unseen> {
    let why = |error| Unseen::new(format!("cannot inspect {}: {error}", folder.display()));
    folder.try_exists().map_err(why)
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
            return images.into_iter().map(|(id, _)| (id.clone(), unknown(&error))).collect();
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
