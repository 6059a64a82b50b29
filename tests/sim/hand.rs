//! What is done to the machine by hand between two applies, and its repair.

use crate::drive::{Run, is_part};
use crate::schedule::Drift;
use crate::truth::{Behaviour, Definition, MarkedFile, Server, Truth};
use llamero::resource::{Fingerprint, Kind};
use std::collections::BTreeMap;
use std::time::Duration;

impl Run {
    pub(crate) fn drift(&mut self, drift: Drift) {
        let mut sim = self.sim();
        sim.note(0, format_args!("by hand: {drift:?}"));
        let truth = &mut sim.truth;
        let server = |truth: &Truth, part: usize| truth.servers.keys().find(|id| is_part(id, part)).cloned();
        match drift {
            Drift::Stop(part) => {
                if let Some(id) = server(truth, part) {
                    truth.stop(&id);
                }
            }
            Drift::RemoveDefinition(part) => {
                if let Some(id) = server(truth, part).filter(|id| id.kind == Kind::Unit) {
                    let handoff = truth.servers[&id].current.is_some();
                    let server = truth.servers.get_mut(&id).expect("it is there");
                    if !handoff {
                        server.definition = None;
                    }
                }
            }
            Drift::EditDefinition(part) => {
                if let Some(id) = server(truth, part).filter(|id| id.kind == Kind::Unit)
                    && let Some(definition) = &mut truth.servers.get_mut(&id).expect("it is there").definition
                {
                    definition.intact = false;
                }
            }
            Drift::Disable(part) => {
                if let Some(id) = server(truth, part) {
                    truth.servers.get_mut(&id).expect("it is there").enabled = false;
                }
            }
            Drift::RemoveFiles => truth.files.retain(|_, file| file.owner.is_none()),
            Drift::EditFiles => truth.files.values_mut().for_each(|file| file.intact = false),
            Drift::RemoveEnvironments => truth.environments.clear(),
            Drift::RemoveArtifacts => truth.artifacts.clear(),
            Drift::RegistryMoves => truth.models.registry += 1,
            Drift::RemoveModels => {
                truth.models.tags.clear();
                sim.models_removed = true;
            }
            Drift::ForeignFile => {
                if let Some(file) = truth.files.values_mut().next() {
                    *file = MarkedFile { owner: None, fingerprint: None, intact: true };
                }
            }
            Drift::ForeignServer(part) => {
                if let Some(id) = server(truth, part) {
                    let was = truth.servers[&id].definition.clone();
                    let Some(was) = was else { return };
                    let foreign = Definition { stack: None, fingerprint: Fingerprint::of(&BTreeMap::default()), ..was };
                    let server = Server { definition: Some(foreign), ..Server::default() };
                    truth.servers.insert(id, server);
                }
            }
            Drift::Sicken(part) => {
                if let Some(id) = server(truth, part) {
                    let server = truth.servers.get_mut(&id).expect("it is there");
                    if let Some(process) = &mut server.process {
                        process.behaviour.ready = None;
                        let key = (id.clone(), process.definition.fingerprint.clone());
                        let behaviour = Behaviour { ready: None, ..Behaviour::HEALTHY };
                        truth.behaviours.insert(key, behaviour);
                    }
                }
            }
        }
    }

    /// Puts the machine right, but not the stack.
    pub(crate) fn heal(&mut self) {
        let mut sim = self.sim();
        sim.truth.heal();
        sim.truth.files.retain(|_, file| file.owner.is_some());
        let foreign = |server: &Server| server.definition.as_ref().is_some_and(|definition| definition.stack.is_none());
        sim.truth.servers.retain(|_, server| !foreign(server));
        // Whatever waits to be started again is up by then.
        sim.now += Duration::from_secs(60);
        let now = sim.now;
        sim.truth.advance(now);
    }
}
