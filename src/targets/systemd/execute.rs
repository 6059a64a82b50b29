//! Calls on the user manager, and the unit files that it loads.

use super::super::driver::Call;
use super::handoff;
use super::parts::JOB;
use crate::plan::Action;
use crate::resource::{ResourceId, Run};
use crate::systems::systemd::{self, JobResult, boot};
use crate::systems::{Failure, Hint, files, owned};
use llamero_core::targets::systemd::lower as unit;

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
        // Whatever instance the name leads to: to enable an instance would start it beside the current one.
        Action::Enable(id) => boot::enable(&systems.units, &unit::unit_name(id)).map_err(|error| failed(&error)),
        Action::Start(id) => start(call, id, run(call)?, false).await,
        Action::Restart(managed) => start(call, managed.id(), run(call)?, true).await,
        Action::Part(part) => handoff::execute(call, part).await,
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
    boot::disable(&systems.units, &unit::unit_name(id)).map_err(|error| failed(&error))?;
    files::remove(&path).map(drop).map_err(|error| failed(&error))
}
