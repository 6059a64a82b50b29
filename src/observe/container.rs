//! Looks at containers and images, where a stack has any.

use crate::observed::{Claim, Found, FoundRun, Phase, Seen};
use crate::resource::{Fingerprint, Health, Kind, Resource, ResourceId, Spec};
use crate::systems::docker::{self, FINGERPRINT_LABEL, STACK_LABEL, Status};
use crate::systems::{Systems, pulled};
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// The exit codes of a program that was asked to end: its own, and those by the signals that ask it.
const ENDED_IN_PEACE: [i64; 3] = [0, 130, 143];

/// Returns every container that carries a stack's mark; none where the engine does not answer.
pub(super) async fn marked(systems: &Systems, stack: &str) -> Vec<ResourceId> {
    let Ok(docker) = systems.docker().await else { return Vec::new() };
    let found = docker.stack(stack).containers().await.unwrap_or_default();
    found.into_iter().map(|found| ResourceId::new(Kind::Container, found.name)).collect()
}

/// Looks at containers by their names, whosever they are.
pub(super) async fn look_at_containers(
    systems: &Systems,
    stack: &str,
    ids: Vec<&ResourceId>,
) -> BTreeMap<ResourceId, Seen> {
    let unknown = |error: &docker::Error| Seen::Unknown(said(error));
    let docker = match systems.docker().await {
        Ok(docker) => docker,
        Err(error) => return ids.into_iter().map(|id| (id.clone(), unknown(&error))).collect(),
    };
    let looks = ids.into_iter().map(|id| async move {
        let seen = match docker.stack(stack).find(&id.name).await {
            Ok(None) => Seen::Absent,
            Ok(Some(found)) => Seen::Present(Found::Run(Box::new(run(&found)))),
            Err(error) => unknown(&error),
        };
        (id.clone(), seen)
    });
    join_all(looks).await.into_iter().collect()
}

/// Looks at every image of `resources`.
pub(super) async fn look_at_images<'a>(
    systems: &Systems,
    resources: impl Iterator<Item = &'a Resource>,
) -> BTreeMap<ResourceId, Seen> {
    let images: Vec<_> = resources
        .filter_map(|resource| if let Spec::Image(image) = &resource.spec { Some((&resource.id, image)) } else { None })
        .collect();
    if images.is_empty() {
        return BTreeMap::new();
    }
    let docker = match systems.docker().await {
        Ok(docker) => docker,
        Err(error) => return images.into_iter().map(|(id, _)| (id.clone(), Seen::Unknown(said(&error)))).collect(),
    };
    let records = match pulled::all(&systems.images, Kind::Image) {
        Ok(records) => records,
        Err(error) => {
            return images.into_iter().map(|(id, _)| (id.clone(), Seen::Unknown(error.to_string()))).collect();
        }
    };
    // What was pulled by its tag is ours by its digest too.
    let looks = images.into_iter().map(|(id, image)| {
        let records = &records;
        async move {
            let seen = match docker.image(&image.name.to_string()).await {
                Ok(None) => Seen::Absent,
                Ok(Some(there)) => {
                    let content = there.digest_at(&image.name);
                    let same = |(known, record): &(ResourceId, pulled::Pulled)| {
                        known == id || (content.is_some() && record.sha256 == content)
                    };
                    Seen::Present(Found::Image { ours: records.iter().any(same) })
                }
                Err(error) => Seen::Unknown(said(&error)),
            };
            (id.clone(), seen)
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

fn run(found: &docker::Found) -> FoundRun {
    let peaceful = found.exit_code.is_none_or(|code| ENDED_IN_PEACE.contains(&code)) && !found.oom_killed;
    let phase = match found.status {
        Status::Running => Phase::Running,
        Status::Restarting => Phase::BackingOff,
        Status::Created if found.error.is_some() => Phase::Failed,
        Status::Exited if !peaceful => Phase::Failed,
        Status::Dead => Phase::Failed,
        Status::Created | Status::Paused | Status::Removing | Status::Exited | Status::Unknown => Phase::Stopped,
    };
    let fingerprint = found.labels.get(FINGERPRINT_LABEL).and_then(|text| Fingerprint::parse(text));
    let definition = found.labels.get(STACK_LABEL).zip(fingerprint.clone());
    let reported = Some(found.health(&[])).filter(|health| phase == Phase::Running && *health != Health::Healthy);
    FoundRun {
        definition: definition.map(|(stack, fingerprint)| Claim { stack: stack.clone(), fingerprint, intact: true }),
        loaded: true,
        enabled: true,
        phase,
        running: fingerprint.filter(|_| phase == Phase::Running),
        identity: found.started_at.as_ref().map(|at| format!("{} {at}", found.id)).filter(|_| phase == Phase::Running),
        restarts: found.restarts,
        why: (phase != Phase::Running).then(|| found.ended()),
        memory: None,
        memory_limit: found.limits.memory,
        hands_on: false,
        strays: false,
        asleep: false,
        reported,
        health: None,
    }
}
