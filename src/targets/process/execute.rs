//! Calls on llamero's own supervisor.

use super::super::driver::Call;
use crate::plan::Action;
use crate::systems::{Failure, Hint};
use llamero_core::targets::process::lower::launch;
use std::time::Duration;

/// The longest wait for a server to stop: its supervisor knows how long it may take.
const STOP: Duration = Duration::from_secs(330);

/// Makes the call that a step names.
pub(super) async fn execute(call: Call<'_>) -> Result<(), Failure> {
    let processes = &call.scope.systems.processes;
    let (id, result) = match &call.step.action {
        Action::Start(id) => {
            let launch = launch(call.scope.stack, call.resource()?).ok_or_else(|| call.unexpected())?;
            (id, processes.start(&id.name, &launch).await)
        }
        Action::Stop(managed) => (managed.id(), processes.stop(&managed.id().name, STOP).await),
        Action::RemoveServer(managed) => (managed.id(), processes.forget(&managed.id().name)),
        _ => return Err(call.unexpected()),
    };
    result.map_err(|error| Failure::of(Some(id), &error as &dyn Hint))
}
