//! Calls on the user manager, and the unit files that it loads.

use super::super::Call;
use super::super::unit;
use super::{handoff, instances};
use crate::plan::Action;
use crate::resource::{ResourceId, Run};
use crate::systems::systemd::{self, JobResult};
use crate::systems::{Failure, Hint, files, owned};
use std::time::Duration;

/// The longest wait for a job beyond what the unit itself may take.
pub(super) const JOB: Duration = Duration::from_secs(30);

/// Makes the call that a step names.
pub(super) async fn execute(call: Call<'_>) -> Result<(), Failure> {
    let systems = call.scope.systems;
    let failed = |error: &dyn Hint| Failure::of(call.step.action.on(), error);
    match &call.step.action {
        Action::Define(id) => define(call, id),
        Action::ReloadManager(_) => {
            let systemd = systems.systemd().await.map_err(|error| failed(&error))?;
            systemd.reload().await.map_err(|error| failed(&error))
        }
        Action::Enable(id) if instances::is_current(systems, id) => instances::enable(systems, id),
        Action::Enable(id) => {
            let systemd = systems.systemd().await.map_err(|error| failed(&error))?;
            systemd.enable(&[unit::unit_name(id)]).await.map_err(|error| failed(&error))?;
            // systemd makes the link and does not sync it.
            files::sync(&systems.units.join("default.target.wants")).map_err(|error| failed(&error))
        }
        Action::Start(id) => {
            let run = run(call)?;
            if run.socket_handoff { handoff::start(call, run).await } else { start(call, id, run, false).await }
        }
        Action::Restart(managed) => start(call, managed.id(), run(call)?, true).await,
        Action::Rehearse(_) => handoff::rehearse(call, run(call)?).await,
        Action::HandOff(_) => handoff::hand_off(call).await,
        Action::ClearOrphans(managed) => handoff::clear_orphans(call, managed.id()).await,
        Action::Stop(managed) if instances::is_current(systems, managed.id()) => {
            handoff::dismantle(call, managed.id()).await
        }
        Action::Stop(managed) => {
            let systemd = systems.systemd().await.map_err(|error| failed(&error))?;
            let stopped = systemd.stop(&unit::unit_name(managed.id()), JOB + call.stop_timeout()).await;
            stopped.map(drop).map_err(|error| failed(&error))
        }
        Action::RemoveServer(managed) => remove(call, managed.id()).await,
        _ => Err(call.unexpected()),
    }
}

fn run(call: Call<'_>) -> Result<&Run, Failure> {
    call.resource()?.run().ok_or_else(|| call.unexpected())
}

fn define(call: Call<'_>, id: &ResourceId) -> Result<(), Failure> {
    let text = unit::unit(call.scope.stack, call.resource()?);
    let text = text.map_err(|error| Failure::new(id, error.to_string()))?;
    let path = call.scope.systems.unit_file(id);
    owned::check(call.scope.stack, id, &path)?;
    files::write(&path, text.as_bytes(), files::PRIVATE).map_err(|error| Failure::of(Some(id), &error))
}

async fn start(call: Call<'_>, id: &ResourceId, run: &Run, again: bool) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let systemd = call.scope.systems.systemd().await.map_err(|error| failed(&error))?;
    let name = unit::unit_name(id);
    let deadline = JOB + run.stop_timeout.duration() + run.timeout.duration();
    let job = if again { systemd.restart(&name, deadline).await } else { systemd.start(&name, deadline).await };
    // Whether it runs is for the health wait to find out: a job's result is a coin flip for a server that dies at once
    // (systemd issue 28304).
    match job.map_err(|error| failed(&error))?.result {
        JobResult::Done | JobResult::Failed => Ok(()),
        other => Err(Failure::new(id, format!("systemd ended the start with `{other}`"))),
    }
}

async fn remove(call: Call<'_>, id: &ResourceId) -> Result<(), Failure> {
    let systems = call.scope.systems;
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    if instances::is_current(systems, id) {
        return handoff::dismantle(call, id).await;
    }
    let path = systems.unit_file(id);
    if files::stamp(&path).map_err(|error| failed(&error))?.is_none() {
        return Ok(());
    }
    owned::check(call.scope.stack, id, &path)?;
    let systemd = systems.systemd().await.map_err(|error| failed(&error))?;
    // A start that a killed llamero asked for may still be on its way: it would run without a file.
    match systemd.stop(&unit::unit_name(id), JOB + call.stop_timeout()).await {
        Ok(_) | Err(systemd::Error::NoSuchUnit { .. }) => {}
        Err(error) => return Err(failed(&error)),
    }
    systemd.disable(&[unit::unit_name(id)]).await.map_err(|error| failed(&error))?;
    files::remove(&path).map(drop).map_err(|error| failed(&error))
}
