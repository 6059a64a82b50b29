//! The desired state of a stack that is taken down, and what becomes of its records once nothing of it runs.

use super::{Error, Stack};
use crate::history::{Revision, StackLock};
use crate::resolve::{Desired, Drift, Policy};
use crate::resource::{ArtifactSource, Digest, Kind, Resource, Spec};
use crate::systems::{artifacts, clock, downloads, files, pulled};
use std::path::PathBuf;

/// The end of a stack.
#[derive(Debug)]
pub(super) struct Teardown {
    inventory: Vec<Resource>,
    purge: bool,
}

/// The remains of a stack that was taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// Secret files, which other programs may use.
    pub secrets: Vec<PathBuf>,
    /// Models on a server that does not answer.
    pub models: Vec<String>,
    /// True if models, images, environments and the history are retained.
    pub retained: bool,
}

impl Teardown {
    pub(super) fn new(stack: &Stack, purge: bool) -> Result<Self, Error> {
        Ok(Self { inventory: stack.history.memory()?.inventory, purge })
    }

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

    /// Removes records that are no longer needed, once nothing of the stack remains. The stack lock must be held.
    pub(super) fn clear_records(&self, stack: &Stack, _lock: &StackLock) -> Result<Cleared, Error> {
        files::clear_folder(&stack.history.folder().join("secrets"));
        let models = if self.purge { self.purge(stack)? } else { Vec::new() };
        let secrets = self.inventory.iter().filter_map(|resource| match &resource.spec {
            Spec::Secret(secret) => Some(secret.path.clone()),
            _ => None,
        });
        Ok(Cleared {
            secrets: secrets.collect(),
            models,
            retained: !self.purge && self.inventory.iter().any(|resource| resource.id.kind.lasts()),
        })
    }

    /// Removes every record, and returns the models that stay with a server that does not answer.
    fn purge(&self, stack: &Stack) -> Result<Vec<String>, Error> {
        for resource in &self.inventory {
            if let Spec::Artifact(artifact) = &resource.spec {
                artifacts::forget(&stack.systems.records.artifacts, &artifact.path)?;
                if artifact.source != ArtifactSource::File {
                    downloads::discard(&artifact.path)?;
                }
            }
        }
        let models = pulled::all(&stack.systems.records.models, Kind::Model).unwrap_or_default();
        // Resources that another program removed still have a record.
        for records in [&stack.systems.records.models, &stack.systems.records.images] {
            files::remove_folder(records)?;
        }
        stack.history.forget()?;
        Ok(models.into_iter().map(|(_, record)| record.name).collect())
    }
}
