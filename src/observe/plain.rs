//! Inspects what lies on disk and does not run: files, secrets, environments and model files.

use super::deadline::ANSWER;
use crate::live::{Live, LiveFile, Ownership, Presence, Unseen};
use crate::render::marker;
use crate::resource::{Artifact, ArtifactSource, Bytes, FileSpec, Resource, ResourceId, Spec};
use crate::systems::python::{self, EnvironmentState};
use crate::systems::{artifacts, files, unknown};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest rendered file that is read, in bytes.
const LIMIT: Bytes = Bytes(4 << 20);

/// Inspects every resource that lies on disk. It happens on a thread of its own: a disk that hangs keeps no other
/// system from being asked, and is waited for only so long.
pub(super) async fn inspect(
    records: PathBuf,
    resources: impl Iterator<Item = &Resource>,
) -> BTreeMap<ResourceId, Presence> {
    let on_disk = resources.filter(|resource| !matches!(resource.spec, Spec::Run(_) | Spec::Model(_) | Spec::Image(_)));
    let on_disk: Vec<Resource> = on_disk.cloned().collect();
    let ids: Vec<ResourceId> = on_disk.iter().map(|resource| resource.id.clone()).collect();
    let inspected = tokio::task::spawn_blocking(move || {
        let presences =
            on_disk.iter().filter_map(|resource| Some((resource.id.clone(), presence(&records, resource)?)));
        presences.collect::<BTreeMap<_, _>>()
    });
    match tokio::time::timeout(ANSWER, inspected).await {
        Ok(Ok(presences)) => presences,
        Ok(Err(error)) => all_unknown(ids, &format!("it could not be read: {error}")),
        Err(_) => all_unknown(ids, &format!("the disk did not answer within {} s", ANSWER.as_secs())),
    }
}

fn all_unknown(ids: Vec<ResourceId>, why: &str) -> BTreeMap<ResourceId, Presence> {
    ids.into_iter().map(|id| (id, Presence::Unknown(Unseen::new(why)))).collect()
}

fn presence(records: &Path, resource: &Resource) -> Option<Presence> {
    Some(match &resource.spec {
        Spec::Secret(secret) => match files::stamp(&secret.path) {
            Ok(Some(_)) => Presence::Present(Live::Secret),
            Ok(None) => Presence::Absent,
            Err(error) => unknown(&error),
        },
        Spec::Environment(environment) => match python::state(&environment.path) {
            Ok(EnvironmentState::Absent) => Presence::Absent,
            Ok(state) => Presence::Present(Live::Environment { complete: state == EnvironmentState::Complete }),
            Err(error) => unknown(&error),
        },
        Spec::Artifact(artifact) => live_artifact(records, artifact),
        Spec::File(file) => live_file(&resource.id, file),
        Spec::Run(_) | Spec::Model(_) | Spec::Image(_) => return None,
    })
}

fn live_artifact(records: &Path, artifact: &Artifact) -> Presence {
    match artifacts::find(records, &artifact.path) {
        Ok(None) => Presence::Absent,
        Ok(Some((size, known))) => {
            // Only llamero writes to the paths of its downloads.
            let managed = artifact.source != ArtifactSource::File;
            Presence::Present(Live::Artifact { size: size.0, sha256: known.map(|known| known.sha256), managed })
        }
        Err(error) => unknown(&error),
    }
}

fn live_file(id: &ResourceId, file: &FileSpec) -> Presence {
    match files::read_text(&file.path, LIMIT) {
        Ok(None) => Presence::Absent,
        Ok(Some(text)) => {
            // A file with another resource's marker belongs to that resource, whatever its path.
            let marker = marker::read(&text).filter(|marker| marker.resource == *id).map(ownership);
            let body = text.split_once('\n').map(|(_, body)| body.to_owned()).filter(|_| marker.is_some());
            let text = if file.content.is_secret() { None } else { Some(body.unwrap_or(text)) };
            Presence::Present(Live::File(LiveFile { marker, text }))
        }
        Err(error) => unknown(&error),
    }
}

fn ownership(marker: marker::Marker) -> Ownership {
    Ownership { stack: marker.stack, fingerprint: marker.fingerprint, intact: marker.intact }
}
