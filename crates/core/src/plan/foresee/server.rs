//! Servers: their definitions, starts and stops.

use super::machine::Machine;
use crate::live::{Live, LiveRun, PortHolder, RunState};
use crate::resource::ResourceId;
use crate::targets::{self, Target};

impl Machine<'_> {
    /// Gives a declared server its definition, and then makes a change to it.
    pub(super) fn define(&mut self, id: &ResourceId, change: impl FnOnce(&mut LiveRun)) {
        let Some(resource) = self.declared(id) else { return };
        let definition = Some(self.marker(resource));
        if self.observed.run(id).is_none() {
            let enabled = targets::of_kind(id.kind).is_some_and(|target| !target.enables());
            self.set(id, Live::Run(Box::new(LiveRun { enabled, ..LiveRun::stopped() })));
        }
        self.on_run(id, |run| {
            run.definition = definition;
            run.loaded = false;
            change(run);
        });
    }

    pub(super) fn start(&mut self, id: &ResourceId) {
        let Some(spec) = self.declared(id).and_then(|resource| resource.run()) else { return };
        let defines = targets::of_kind(id.kind).is_some_and(Target::defines_on_start);
        if defines {
            self.define(id, |_| {});
        }
        self.on_run(id, |run| {
            run.phase = RunState::Running;
            run.why = None;
            run.asleep = false;
            run.socket_down = None;
            // What a new start makes of its settings is not known.
            run.effective.values.clear();
            run.socket_handoff = spec.socket_handoff;
            // A process gets a new supervisor with each start.
            run.enabled |= defines;
            // A manager that has not read the new definition starts the old one.
            if run.loaded || defines {
                run.loaded = true;
                run.running = run.definition.as_ref().map(|claim| claim.fingerprint.clone());
                run.memory_limit = spec.limits.memory;
            }
        });
        // A restarted server may have listened on other ports before.
        self.release_ports(id);
        for port in &spec.ports {
            let holder = PortHolder { pid: None, command: spec.description.clone(), resource: Some(id.clone()) };
            self.observed.ports.insert(*port, holder);
        }
    }

    pub(super) fn stop(&mut self, id: &ResourceId) {
        self.on_run(id, |run| {
            run.phase = RunState::Stopped;
            run.running = None;
        });
        self.release_ports(id);
    }

    fn release_ports(&mut self, id: &ResourceId) {
        self.observed.ports.retain(|_, holder| holder.resource.as_ref() != Some(id));
    }

    /// Has a server stand aside under its second name.
    pub(super) fn set_aside(&mut self, id: &ResourceId) {
        if let Some(aside) = targets::previous(id) {
            self.rename(id, &aside);
        }
    }

    /// Has what stands aside for a server be gone.
    pub(super) fn remove_previous(&mut self, id: &ResourceId) {
        if let Some(aside) = targets::previous(id) {
            self.remove(&aside);
        }
    }
}
