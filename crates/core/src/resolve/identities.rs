//! Mistakes that only show in the resources: two that are one live thing, and one that its target cannot express.

use super::build::Builder;
use crate::resource::{Kind, LiveIdentity, Note, Resource, Spec, shared};
use crate::targets;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The longest name of a file on Linux (`NAME_MAX`), and of a unit.
const LONGEST_NAME: usize = 255;

/// The room that a name leaves for what llamero adds to it: a temporary file's, a download's and an instance's.
const ROOM: usize = 40;

impl Builder<'_> {
    /// Notes every two resources that share a live identity, at the one that the manifest declares later.
    pub(super) fn check_identities(&mut self) {
        let units = self.facts.directories.units();
        // A unit is known to the manager, and is a file of its own too.
        let unit_file = |resource: &Resource| match resource.id.kind {
            Kind::Unit => vec![LiveIdentity::path(&units.join(format!("{}.service", resource.id.name)))],
            _ => Vec::new(),
        };
        let mut notes = Vec::new();
        for live in shared(self.resources.values(), unit_file) {
            let span = |resource: &Resource| self.spans.get(&resource.id).cloned().unwrap_or_default();
            let (mut one, mut other) = (live.one, live.other);
            if span(one).start > span(other).start {
                (one, other) = (other, one);
            }
            let message = if one.role == other.role {
                format!("`{}` would have {} twice", one.role, live.identity)
            } else {
                format!("`{}` and `{}` would both have {}", one.role, other.role, live.identity)
            };
            let note = Note::error("shared-identity", message).hint(live.identity.remedy());
            notes.push((note, other.role.clone(), span(other)));
        }
        self.notes.extend(notes);
    }

    /// Notes every name that a file system cannot hold.
    pub(super) fn check_names(&mut self) {
        let units = self.facts.directories.units();
        let mut notes = Vec::new();
        for resource in self.resources.values() {
            let path = match &resource.spec {
                Spec::File(file) => file.path.clone(),
                Spec::Artifact(artifact) => artifact.path.clone(),
                Spec::Environment(environment) => environment.path.clone(),
                Spec::Secret(secret) => secret.path.clone(),
                Spec::Run(_) if resource.id.kind == Kind::Unit => units.join(format!("{}.service", resource.id.name)),
                Spec::Run(_) if resource.id.kind == Kind::Process => PathBuf::from(&resource.id.name),
                Spec::Run(_) | Spec::Image(_) | Spec::Model(_) => continue,
            };
            let is_last = |name: &OsStr| path.file_name() == Some(name);
            let longest = |name: &OsStr| if is_last(name) { LONGEST_NAME - ROOM } else { LONGEST_NAME };
            if let Some(name) = path.iter().find(|name| name.len() > longest(name)) {
                let begin: String = name.to_string_lossy().chars().take(24).collect();
                let message = format!("the name `{begin}…` has {} bytes", name.len());
                let hint = format!("shorten it: a file's name has room for {} here", longest(name));
                let span = self.spans.get(&resource.id).cloned().unwrap_or_default();
                notes.push((Note::error("name-too-long", message).hint(hint), resource.role.clone(), span));
            }
        }
        self.notes.extend(notes);
    }

    /// Notes every server that its target cannot express, so that no switch fails over it.
    pub(super) fn check_definitions(&mut self) {
        let stack = &self.manifest.stack.value;
        let problem = |resource: &Resource| targets::of_kind(resource.id.kind)?.definition(stack, resource).err();
        let notes = self.resources.values().filter_map(|resource| {
            let note = Note::error("unrepresentable", problem(resource)?.to_string());
            Some((note, resource.role.clone(), self.spans.get(&resource.id).cloned().unwrap_or_default()))
        });
        let notes: Vec<_> = notes.collect();
        self.notes.extend(notes);
    }
}
