//! The machine after one step, and after all of them.

use super::machine::Machine;
use crate::live::{Live, Observation, RunState};
use crate::plan::result::Plan;
use crate::plan::step::{Action, Phase, Step};
use crate::resolve::Desired;

/// Returns the observation expected after every step of `plan` has succeeded.
#[must_use]
pub fn foresee_all(desired: &Desired, observed: &Observation, plan: &Plan) -> Observation {
    let first = plan.first.as_deref().unwrap_or(desired);
    let revision = |step: &Step| if step.phase == Phase::Canary { first } else { desired };
    plan.steps.iter().fold(observed.clone(), |observed, step| foresee(revision(step), observed, step))
}

/// Returns the machine expected after the call of `step` has failed and what is done in its place has succeeded.
#[must_use]
pub fn foresee_otherwise(desired: &Desired, observed: Observation, step: &Step) -> Observation {
    let instead = |action: &Action| Step { action: action.clone(), otherwise: Vec::new(), ..step.clone() };
    step.otherwise.iter().fold(observed, |observed, action| foresee(desired, observed, &instead(action)))
}

/// Returns the observation expected after `step` has succeeded.
#[must_use]
pub fn foresee(desired: &Desired, observed: Observation, step: &Step) -> Observation {
    let mut machine = Machine { desired, observed };
    match &step.action {
        Action::GenerateSecret(id) => machine.set(id, Live::Secret),
        Action::CreateEnvironment(id) => machine.set(id, Live::Environment { complete: true }),
        Action::FetchArtifact(id) => machine.fetch(id),
        Action::VerifyArtifact(id) => machine.verify(id),
        Action::PullImage(id) => machine.set(id, Live::Image { managed: true }),
        Action::Prepare { kind, what } => machine.prepare(*kind, what),
        Action::KeepContent(_) | Action::Try(_) => {}
        Action::PullModel(id) => machine.pull(id),
        Action::LoadModel(id) => machine.load(id),
        Action::WriteFile(id) => machine.write(id),
        // What hands its socket off has no definition under its own name.
        Action::Define(id) => machine.define(id, |run| run.socket_handoff = false),
        Action::ReloadManager(kind) => machine.on_runs(*kind, |run| run.loaded = true),
        Action::Enable(id) => machine.on_run(id, |run| run.enabled = true),
        Action::SetAside(managed) => machine.set_aside(managed.id()),
        Action::Discard(managed) => machine.set_absent(managed.id()),
        Action::Create(id) => machine.define(id, |run| run.loaded = true),
        Action::Restore { server, previous } => machine.rename(previous.id(), server),
        Action::Start(id) => machine.start(id),
        Action::Restart(managed) => machine.start(managed.id()),
        Action::Part(call) => machine.call(call),
        Action::Stop(managed) => machine.stop(managed.id()),
        Action::Sleep(managed) => machine.on_run(managed.id(), |run| run.asleep = true),
        Action::Wake(managed) => machine.on_run(managed.id(), |run| run.asleep = false),
        Action::AwaitHealthy(id) => machine.on_run(id, |run| {
            if run.phase == RunState::Starting {
                run.phase = RunState::Running;
            }
        }),
        Action::RemovePrevious(managed) => machine.remove_previous(managed.id()),
        Action::RemoveNetwork { name, .. } => machine.remove_network(name),
        Action::RemoveAside { previous: managed, .. }
        | Action::RemoveFile(managed)
        | Action::RemoveServer(managed)
        | Action::RemoveImage(managed)
        | Action::RemoveEnvironment(managed)
        | Action::RemoveArtifact(managed)
        | Action::RemoveModel(managed) => machine.remove(managed.id()),
        Action::Purge(remnant) => machine.purge(remnant),
    }
    machine.observed
}
