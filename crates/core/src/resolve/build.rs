//! The builder that the parts of a stack write their resources with: what they share, names, and what they have in
//! common.

use super::facts::{Facts, reference, secrets};
use super::unknown::UnknownSecret;
use crate::lockfile::{LockFile, Pin};
use crate::manifest::{Common, Entry, Manifest, Model, RuntimeName};
use crate::resource::{Bytes, Digest, Kind, Note, Resource, ResourceId, SecretReference, ServedModel, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The default space that downloads leave free on their disk.
const KEEP_FREE: Bytes = Bytes(1 << 30);

pub(super) struct Builder<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) lock: &'a LockFile,
    pub(super) facts: &'a Facts,
    pub(super) resources: BTreeMap<ResourceId, Resource>,
    /// The first declaration of each resource.
    pub(super) spans: BTreeMap<ResourceId, Range<usize>>,
    pub(super) notes: Vec<(Note, String, Range<usize>)>,
    /// The secrets that are generated where they are missing.
    pub(super) generated: BTreeSet<SecretReference>,
    /// The secrets whose values are unknown.
    pub(super) unknown: BTreeMap<SecretReference, UnknownSecret>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(manifest: &'a Manifest, lock: &'a LockFile, facts: &'a Facts) -> Self {
        // It is enough that one of the references to a secret says that it is generated.
        let generated = secrets(manifest).filter(|source| source.generate);
        Self {
            manifest,
            lock,
            facts,
            resources: BTreeMap::new(),
            spans: BTreeMap::new(),
            notes: Vec::new(),
            generated: generated.map(|source| reference(source, &facts.directories)).collect(),
            unknown: BTreeMap::new(),
        }
    }

    /// Returns what the lock file says of a model's source.
    pub(super) fn pin(&mut self, key: &str, model: &Entry<Model>) -> Option<&'a Pin> {
        let pin = self.lock.pins.get(key)?;
        let declared = model.value.sha256.as_ref().map(|sha256| (sha256, &sha256.value.0));
        if let Some((text, declared)) = declared.filter(|(_, declared)| **declared != pin.sha256) {
            let message = format!("`sha256` says {}…, and the lock file {}…", declared.short(), pin.sha256.short());
            let hint = format!("correct one of them; `llamero update {}` moves the lock file on", model.name.value);
            self.note(
                Note::error("not-as-locked", message).hint(hint),
                format!("models.{}.sha256", model.name.value),
                &text.span,
            );
        }
        Some(pin)
    }

    /// Returns what downloads must leave free on their disk.
    pub(super) fn keep_free(&self) -> Bytes {
        self.manifest.machine.models.keep_free.as_ref().map_or(KEEP_FREE, |size| size.value.0)
    }
}

impl Builder<'_> {
    pub(super) fn note(&mut self, note: Note, path: impl Into<String>, span: &Range<usize>) {
        self.notes.push((note, path.into(), span.clone()));
    }

    pub(super) fn unsupported(&mut self, what: &str, path: impl Into<String>, span: &Range<usize>) {
        let note = Note::error("not-yet-supported", format!("{what} cannot be applied by this version of llamero yet"));
        self.note(note.hint("it is read and checked, and nothing was changed"), path, span);
    }

    /// Adds a resource. Two parts of the manifest may share one that is the same; two different ones of the same name
    /// are a mistake.
    pub(super) fn add(&mut self, resource: Resource, span: &Range<usize>) {
        if let Some(known) = self.resources.get(&resource.id).filter(|known| known.spec != resource.spec) {
            let message = format!("`{}` and `{}` would both be {}", known.role, resource.role, resource.id);
            let note = Note::error("same-name", message).hint("give one of them another name");
            self.note(note, resource.role, span);
            return;
        }
        self.spans.entry(resource.id.clone()).or_insert_with(|| span.clone());
        self.resources.insert(resource.id.clone(), resource);
    }

    /// Adds a model file, which several models may be made of; it is enough that one of them says its digest.
    pub(super) fn add_artifact(&mut self, mut resource: Resource, span: &Range<usize>) {
        let known = self.resources.get(&resource.id).map(|known| &known.spec);
        if let (Some(Spec::Artifact(known)), Spec::Artifact(artifact)) = (known, &mut resource.spec)
            && (known.sha256.is_none() || artifact.sha256.is_none())
        {
            artifact.sha256 = artifact.sha256.take().or_else(|| known.sha256.clone());
            self.resources.remove(&resource.id);
        }
        self.add(resource, span);
    }

    /// Adds a model on a server. What several models of a manifest merely call by other names is one that all of them
    /// share: it stays loaded if one of them says so.
    pub(super) fn add_model(&mut self, mut resource: Resource, span: &Range<usize>) {
        if let (Some(Spec::Model(known)), Spec::Model(model)) =
            (self.resources.get(&resource.id).map(|known| &known.spec), &mut resource.spec)
            && !model.is_derived()
            && known.endpoint == model.endpoint
        {
            let first = known.clone();
            **model = ServedModel {
                pinned: first.pinned || model.pinned,
                embedding: if model.pinned { model.embedding } else { first.embedding },
                ..*first
            };
            let role = self.resources.remove(&resource.id).map(|known| known.role);
            resource.role = role.unwrap_or(resource.role);
        }
        self.add(resource, span);
    }

    /// Returns a text in lower-case letters, digits and `-`.
    pub(super) fn plain(text: &str) -> String {
        let plain: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        plain.trim_matches('-').to_owned()
    }

    /// Returns a part's name as a resource's name: one that a unit and a folder can have.
    pub(super) fn name(part: &str) -> String {
        let plain = Self::plain(part);
        // Different names that look the same once they are plain must stay different.
        if plain == part { plain } else { format!("{plain}-{}", &Digest::of(part).as_str()[..4]) }
    }

    /// Returns the resource name of a server.
    pub(super) fn server_id(&self, part: &str, common: Common<'_>) -> Option<ResourceId> {
        let runtime = common.runtime?.value;
        let name = Self::name(part);
        match runtime {
            RuntimeName::Systemd => {
                let own = common.unit.map(|unit| unit.value.to_string());
                Some(ResourceId::new(
                    Kind::Unit,
                    own.unwrap_or_else(|| format!("{}-{name}", self.manifest.stack.value)),
                ))
            }
            RuntimeName::Process => Some(ResourceId::new(Kind::Process, name)),
            RuntimeName::Docker => Some(ResourceId::new(Kind::Container, self.container_name(part, common))),
            RuntimeName::External => None,
        }
    }

    /// Returns the name of a server's container.
    pub(super) fn container_name(&self, part: &str, common: Common<'_>) -> String {
        let own = common.container.map(|container| container.value.to_string());
        own.unwrap_or_else(|| format!("{}-{}", self.manifest.stack.value, Self::name(part)))
    }
}
