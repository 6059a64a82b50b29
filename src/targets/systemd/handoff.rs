//! The calls of a hand-off, each on a part of its server.

use super::super::driver::Call;
use super::parts::{JOB, Parts};
use super::rehearse::rehearse;
use crate::plan::PartCall;
use crate::systems::systemd::Weight;
use crate::systems::{Failure, Hint};
use llamero_core::targets::systemd::lower as unit;

/// Makes one call.
pub(super) async fn execute(call: Call<'_>, part: &PartCall) -> Result<(), Failure> {
    let id = part.server();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let systemd = call.scope.systems.systemd().await.map_err(|error| failed(&error))?;
    let runtime = systemd.runtime_folder().await.map_err(|error| failed(&error))?;
    let parts = Parts { call, id, systemd, runtime };
    match part {
        PartCall::DefineSocket { .. } => parts.define_socket(),
        PartCall::EnableSocket { .. } => parts.enable_socket(),
        PartCall::StartSocket { .. } => parts.start_socket().await,
        PartCall::StopSocket { .. } => parts.stop(&unit::socket_name(id), JOB).await,
        PartCall::RemoveSocket { .. } => parts.remove_socket(),
        PartCall::CloseGate(instance) => parts.close_gate(instance.number),
        PartCall::Define(instance) => parts.define(instance.number),
        PartCall::LowerWeight(instance) => parts.weigh(instance.number, Weight::Low).await,
        PartCall::Start(instance) => {
            let name = unit::instance_name(id, instance.number);
            parts.systemd.begin_start(&name).await.map_err(|error| failed(&error))
        }
        PartCall::Rehearse(instance) => rehearse(&parts, instance.number).await,
        PartCall::RaiseWeight(instance) => parts.weigh(instance.number, Weight::Normal).await,
        PartCall::OpenGate(instance) => parts.open_gate(instance.number).await,
        PartCall::MakeCurrent(instance) => parts.make_current(instance.number),
        PartCall::Drain(instance) => parts.drain(instance.number).await,
        PartCall::End { instance, within } => parts.end(instance.number, within.duration()).await,
        PartCall::Remove(instance) => parts.remove(instance.number),
        PartCall::RemoveName { .. } => parts.remove_name(),
    }
}
