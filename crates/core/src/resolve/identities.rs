//! Mistakes that only show in the resources: two that are one live thing, and one that its target cannot express.

use super::build::Builder;
use crate::resource::{Kind, LiveIdentity, Note, Resource, shared};
use crate::targets;

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
