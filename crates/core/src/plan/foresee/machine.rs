//! The machine as it is foreseen, and the changes that all steps are made of.

use crate::live::{Live, LiveRun, Observation, Ownership, Presence, Remnant};
use crate::resolve::Desired;
use crate::resource::{Kind, Resource, ResourceId};

/// The machine as it is foreseen on the way to a desired state.
pub(super) struct Machine<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: Observation,
}

impl<'a> Machine<'a> {
    /// Returns the declaration of a resource.
    pub(super) fn declared(&self, id: &ResourceId) -> Option<&'a Resource> {
        self.desired.resources.get(id)
    }

    /// Returns the ownership marker of what is made as declared.
    pub(super) fn marker(&self, resource: &Resource) -> Ownership {
        Ownership { stack: self.desired.stack.clone(), fingerprint: resource.fingerprint(), intact: true }
    }

    /// Has a resource be there.
    pub(super) fn set(&mut self, id: &ResourceId, live: Live) {
        self.observed.resources.insert(id.clone(), Presence::Present(live));
    }

    /// Has a declared resource be missing.
    pub(super) fn set_absent(&mut self, id: &ResourceId) {
        self.observed.resources.insert(id.clone(), Presence::Absent);
    }

    /// Has a resource be gone, and with a model file its record.
    pub(super) fn remove(&mut self, id: &ResourceId) {
        self.observed.resources.remove(id);
        let is_record = |remnant: &Remnant| matches!(remnant, Remnant::DigestRecord { artifact, .. } if artifact == id);
        self.observed.remnants.retain(|remnant| !is_record(remnant));
    }

    /// Has something beside the resources be gone.
    pub(super) fn purge(&mut self, remnant: &Remnant) {
        self.observed.remnants.remove(remnant);
    }

    /// Gives a resource another name.
    pub(super) fn rename(&mut self, from: &ResourceId, to: &ResourceId) {
        if let Some(presence) = self.observed.resources.insert(from.clone(), Presence::Absent) {
            self.observed.resources.insert(to.clone(), presence);
        }
    }

    /// Changes a live server.
    pub(super) fn on_run(&mut self, id: &ResourceId, change: impl FnOnce(&mut LiveRun)) {
        if let Some(Presence::Present(Live::Run(run))) = self.observed.resources.get_mut(id) {
            change(run);
        }
    }

    /// Changes all live servers of a kind.
    pub(super) fn on_runs(&mut self, kind: Kind, change: impl Fn(&mut LiveRun)) {
        for (id, presence) in &mut self.observed.resources {
            if let (true, Presence::Present(Live::Run(run))) = (id.kind == kind, presence) {
                change(run);
            }
        }
    }
}
