//! Files, models, and what a server needs of its host.

use super::machine::Machine;
use crate::live::{Live, LiveFile, Presence};
use crate::resource::{Artifact, ArtifactSource, Kind, Prerequisite, Resource, ResourceId, Spec};
use std::collections::BTreeMap;

impl<'a> Machine<'a> {
    pub(super) fn fetch(&mut self, id: &ResourceId) {
        let Some(artifact) = self.artifact(id) else { return };
        let managed = artifact.source != ArtifactSource::File;
        let size = self.observed.download_sizes.get(id).copied().unwrap_or_default();
        self.set(id, Live::Artifact { size, sha256: artifact.sha256.clone(), managed });
    }

    /// Computing a digest changes neither the file nor its ownership.
    pub(super) fn verify(&mut self, id: &ResourceId) {
        let Some(artifact) = self.artifact(id) else { return };
        if let Some(Presence::Present(Live::Artifact { sha256, .. })) = self.observed.resources.get_mut(id) {
            sha256.clone_from(&artifact.sha256);
        }
    }

    fn artifact(&self, id: &ResourceId) -> Option<&'a Artifact> {
        match &self.declared(id)?.spec {
            Spec::Artifact(artifact) => Some(artifact),
            _ => None,
        }
    }

    pub(super) fn pull(&mut self, id: &ResourceId) {
        let declared = self.declared(id);
        let sha256 = declared.and_then(|resource| match &resource.spec {
            Spec::Model(model) => model.sha256.clone(),
            _ => None,
        });
        let model = Live::Model {
            recorded: declared.map(Resource::fingerprint),
            loaded: false,
            sha256,
            managed: true,
            kept: false,
            unserved: false,
            edited: false,
            effective: BTreeMap::new(),
        };
        self.set(id, model);
    }

    pub(super) fn load(&mut self, id: &ResourceId) {
        if let Some(Presence::Present(Live::Model { loaded, .. })) = self.observed.resources.get_mut(id) {
            *loaded = true;
        }
    }

    pub(super) fn write(&mut self, id: &ResourceId) {
        let marker = self.declared(id).map(|resource| self.marker(resource));
        self.set(id, Live::File(LiveFile { marker, text: None }));
    }

    pub(super) fn prepare(&mut self, kind: Kind, what: &Prerequisite) {
        self.observed.prerequisites.insert(what.clone());
        if let Prerequisite::Network(name) = what {
            self.observed.networks.insert(name.clone(), kind);
        }
    }

    pub(super) fn remove_network(&mut self, name: &str) {
        self.observed.prerequisites.remove(&Prerequisite::Network(name.to_owned()));
        self.observed.networks.remove(name);
    }
}
