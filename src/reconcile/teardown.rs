//! The desired state of a stack that is taken down, and what is there of it beside its resources.

use super::{Error, Stack};
use crate::history::Revision;
use crate::live::Remnant;
use crate::resolve::{Desired, Drift, Policy};
use crate::resource::{ArtifactSource, Digest, Kind, Resource, Spec};
use crate::systems::{artifacts, clock, downloads, files, pulled};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Returns the revision that asks for nothing.
pub(super) fn revision(stack: &Stack) -> Revision {
    let policy = Policy { drift: Drift::Correct, prune: true, rollback: false };
    Revision {
        begun: clock::now(),
        llamero: env!("CARGO_PKG_VERSION").to_owned(),
        manifest: PathBuf::new(),
        manifest_digest: Digest::of(""),
        lock_digest: None,
        manifest_text: String::new(),
        origin: Some("down".to_owned()),
        desired: Desired::nothing(stack.name.clone(), policy),
        orphans: Vec::new(),
        changes: Vec::new(),
    }
}

/// Returns what is there of a stack beside its resources. `inventory` is what any generation may have created.
pub(super) fn remnants(stack: &Stack, inventory: &[Resource]) -> Result<BTreeSet<Remnant>, Error> {
    let records = &stack.systems.records;
    let mut remnants: BTreeSet<Remnant> = stack.history.remnants()?.into_iter().collect();
    for resource in inventory {
        let Spec::Artifact(artifact) = &resource.spec else { continue };
        let (id, path) = (resource.id.clone(), artifact.path.clone());
        if artifact.source != ArtifactSource::File && downloads::is_unfinished(&path) {
            remnants.insert(Remnant::Download { artifact: id.clone(), path: path.clone() });
        }
        if artifacts::has_record(&records.artifacts, &path) {
            remnants.insert(Remnant::DigestRecord { artifact: id, path });
        }
    }
    if records.models.exists() {
        // A record that cannot be read names no model, and goes like the others.
        let all = pulled::all(&records.models, Kind::Model).unwrap_or_default();
        let models = all.into_iter().map(|(id, record)| (id, record.name)).collect();
        remnants.insert(Remnant::ModelRecords { path: records.models.clone(), models });
    }
    if records.images.exists() {
        remnants.insert(Remnant::ImageRecords { path: records.images.clone() });
    }
    let [secrets, processes] = ["secrets", "processes"].map(|name| stack.history.folder().join(name));
    // What is in them goes with the resources.
    let known: BTreeSet<PathBuf> = inventory
        .iter()
        .filter_map(|resource| match &resource.spec {
            Spec::File(file) => Some(file.path.clone()),
            Spec::Run(_) => Some(processes.join(&resource.id.name)),
            _ => None,
        })
        .collect();
    for path in [secrets, processes] {
        if files::holds_only(&path, &known)? {
            remnants.insert(Remnant::EmptyFolder { path });
        }
    }
    Ok(remnants)
}
