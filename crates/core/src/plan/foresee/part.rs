//! The parts of servers that hand their socket off.

use super::machine::Machine;
use crate::live::InstanceState;
use crate::plan::part::{Instance, PartCall};

impl Machine<'_> {
    /// Makes a call on one part.
    pub(super) fn call(&mut self, call: &PartCall) {
        let id = call.server().clone();
        let is_new = self.observed.run(&id).is_none();
        let parts = self.observed.instances.entry(id.clone()).or_default();
        match call {
            PartCall::Define(instance) => {
                parts.others.insert(instance.number, InstanceState::Defined);
                parts.next = parts.next.max(instance.number + 1);
                if is_new {
                    // Its name does not lead to it yet.
                    self.define(&id, |run| (run.socket_handoff, run.loaded) = (true, true));
                }
            }
            PartCall::Start(Instance { number, .. }) if parts.current == Some(*number) => {
                self.start(&id);
            }
            PartCall::Start(instance) => drop(parts.others.insert(instance.number, InstanceState::Started)),
            PartCall::OpenGate(instance) => drop(parts.others.insert(instance.number, InstanceState::Serving)),
            PartCall::MakeCurrent(instance) => self.make_current(instance),
            PartCall::End { instance, .. } => {
                if parts.current == Some(instance.number) {
                    self.stop(&id);
                } else if let Some(state) = parts.others.get_mut(&instance.number) {
                    *state = InstanceState::Defined;
                }
            }
            PartCall::Remove(instance) => {
                parts.others.remove(&instance.number);
                let none = parts.current.is_none() && parts.others.is_empty();
                if none && self.observed.run(&id).is_some_and(|run| run.socket_handoff) {
                    self.set_absent(&id);
                }
            }
            PartCall::RemoveName { .. } => {
                if let Some(previous) = parts.current.take() {
                    parts.others.insert(previous, InstanceState::Defined);
                }
                self.on_run(&id, |run| run.enabled = false);
            }
            PartCall::StartSocket { .. } => parts.listens = true,
            PartCall::StopSocket { .. } => parts.listens = false,
            PartCall::DefineSocket { .. }
            | PartCall::EnableSocket { .. }
            | PartCall::RemoveSocket { .. }
            | PartCall::CloseGate(_)
            | PartCall::LowerWeight(_)
            | PartCall::Rehearse(_)
            | PartCall::RaiseWeight(_)
            | PartCall::Drain(_) => {}
        }
    }

    /// The server's own name leads to an instance, which runs with the new definition where clients reach it already.
    fn make_current(&mut self, instance: &Instance) {
        let id = &instance.server;
        let parts = self.observed.instances.entry(id.clone()).or_default();
        let serves = parts.others.remove(&instance.number) == Some(InstanceState::Serving);
        if let Some(previous) = parts.current.replace(instance.number) {
            parts.others.insert(previous, if serves { InstanceState::Serving } else { InstanceState::Defined });
        }
        self.define(id, |run| (run.socket_handoff, run.loaded) = (true, run.loaded || serves));
        if serves {
            self.start(id);
        }
    }
}
