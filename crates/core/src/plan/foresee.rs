//! What the machine will look like after a step has succeeded: the model of the world that the laws are tested with,
//! and with which a plan can be shown to leave nothing to do.

use super::{Action, Phase, Plan, Step};
use crate::desired::Desired;
use crate::observed::{Claim, Found, FoundFile, FoundRun, Observed, Ours, Phase as Running, PortHolder, Seen};
use crate::resource::{Resource, ResourceId, Runtime, Spec};

/// Returns what will be seen after every step of `plan` has succeeded.
#[must_use]
pub fn foresee_all(desired: &Desired, observed: &Observed, plan: &Plan) -> Observed {
    let first = plan.first.as_deref().unwrap_or(desired);
    let wish = |step: &Step| if step.phase == Phase::Canary { first } else { desired };
    plan.steps.iter().fold(observed.clone(), |observed, step| foresee(wish(step), observed, step))
}

/// Returns what will be seen after `step` has succeeded.
#[must_use]
pub fn foresee(desired: &Desired, mut observed: Observed, step: &Step) -> Observed {
    let resource = step.action.on().and_then(|id| desired.resources.get(id));
    match &step.action {
        Action::GenerateSecret(id) => present(&mut observed, id, Found::Secret),
        Action::CreateEnvironment(id) => present(&mut observed, id, Found::Environment { complete: true }),
        Action::FetchArtifact(id) => fetched(&mut observed, id, resource),
        Action::VerifyArtifact(id) => verified(&mut observed, id, resource),
        Action::PullImage(id) => present(&mut observed, id, Found::Image { ours: true }),
        Action::KeepContent(_) => {}
        Action::PullModel(id) => {
            let recorded = resource.map(Resource::fingerprint);
            let sha256 = resource.and_then(|resource| match &resource.spec {
                Spec::Model(model) => model.sha256.clone(),
                _ => None,
            });
            present(
                &mut observed,
                id,
                Found::Model {
                    recorded,
                    loaded: false,
                    sha256,
                    ours: true,
                    kept: false,
                    unserved: false,
                    edited: false,
                },
            );
        }
        Action::LoadModel(id) => {
            if let Some(Seen::Present(Found::Model { loaded, .. })) = observed.things.get_mut(id) {
                *loaded = true;
            }
        }
        Action::WriteFile(id) => {
            let marker = resource.map(|resource| claim(desired, resource));
            present(&mut observed, id, Found::File(FoundFile { marker, text: None }));
        }
        Action::WriteUnit(id) => {
            if let Some(resource) = resource {
                define(desired, &mut observed, id, resource);
            }
        }
        Action::ReloadManager => each_run(&mut observed, |run| run.loaded = true),
        Action::EnableUnit(id) => on_run(&mut observed, id, |run| run.enabled = true),
        Action::Start(id) => start(desired, &mut observed, id, resource),
        Action::Restart(ours) | Action::HandOver(ours) => start(desired, &mut observed, ours.id(), resource),
        Action::Sleep(ours) => on_run(&mut observed, ours.id(), |run| run.asleep = true),
        Action::Wake(ours) => on_run(&mut observed, ours.id(), |run| run.asleep = false),
        Action::Stop(ours) => stop(&mut observed, ours),
        Action::RemoveFormer(ours) => on_run(&mut observed, ours.id(), |run| run.strays = false),
        Action::AwaitHealthy(_) | Action::Rehearse(_) | Action::Try(_) => {}
        Action::RemoveFile(ours)
        | Action::RemoveUnit(ours)
        | Action::RemoveProcess(ours)
        | Action::RemoveContainer(ours)
        | Action::RemoveImage(ours)
        | Action::RemoveEnvironment(ours)
        | Action::RemoveArtifact(ours)
        | Action::RemoveModel(ours) => {
            observed.things.remove(ours.id());
        }
    }
    observed
}

fn claim(desired: &Desired, resource: &Resource) -> Claim {
    Claim { stack: desired.stack.clone(), fingerprint: resource.fingerprint(), intact: true }
}

fn present(observed: &mut Observed, id: &ResourceId, found: Found) {
    observed.things.insert(id.clone(), Seen::Present(found));
}

fn fetched(observed: &mut Observed, id: &ResourceId, resource: Option<&Resource>) {
    let Some(Spec::Artifact(artifact)) = resource.map(|resource| &resource.spec) else { return };
    let ours = artifact.source != crate::resource::ArtifactSource::File;
    let size = observed.download_sizes.get(id).copied().unwrap_or_default();
    present(observed, id, Found::Artifact { size, sha256: artifact.sha256.clone(), ours });
}

/// To compute a digest changes neither the file nor whose it is.
fn verified(observed: &mut Observed, id: &ResourceId, resource: Option<&Resource>) {
    let Some(Spec::Artifact(artifact)) = resource.map(|resource| &resource.spec) else { return };
    if let Some(Seen::Present(Found::Artifact { sha256, .. })) = observed.things.get_mut(id) {
        sha256.clone_from(&artifact.sha256);
    }
}

fn on_run(observed: &mut Observed, id: &ResourceId, change: impl FnOnce(&mut FoundRun)) {
    if let Some(Seen::Present(Found::Run(run))) = observed.things.get_mut(id) {
        change(run);
    }
}

fn each_run(observed: &mut Observed, change: impl Fn(&mut FoundRun)) {
    for seen in observed.things.values_mut() {
        if let Seen::Present(Found::Run(run)) = seen {
            change(run);
        }
    }
}

fn define(desired: &Desired, observed: &mut Observed, id: &ResourceId, resource: &Resource) {
    let definition = Some(claim(desired, resource));
    if observed.run(id).is_some() {
        on_run(observed, id, |run| {
            run.definition = definition;
            run.loaded = false;
        });
        return;
    }
    let enabled = resource.run().is_some_and(|run| run.runtime != Runtime::Systemd);
    let run = FoundRun { definition, loaded: false, enabled, ..FoundRun::stopped() };
    present(observed, id, Found::Run(Box::new(run)));
}

fn start(desired: &Desired, observed: &mut Observed, id: &ResourceId, resource: Option<&Resource>) {
    let Some((resource, spec)) = resource.and_then(|resource| Some((resource, resource.run()?))) else { return };
    let defines = spec.runtime != Runtime::Systemd || spec.hands_on;
    if defines {
        define(desired, observed, id, resource);
    }
    let mut loaded = false;
    on_run(observed, id, |run| {
        run.phase = Running::Running;
        run.why = None;
        run.asleep = false;
        // A manager that has not read the new definition starts the old one.
        loaded = run.loaded || defines;
        run.hands_on = spec.hands_on;
        // A process gets a supervisor of its own with each start.
        run.enabled |= defines;
        if loaded {
            run.loaded = true;
            run.running = run.definition.as_ref().map(|claim| claim.fingerprint.clone());
            run.memory_limit = spec.limits.memory;
        }
    });
    // A server that was restarted may have listened elsewhere before.
    release_ports(observed, id);
    for port in &spec.ports {
        let holder = PortHolder { pid: None, command: spec.description.clone(), resource: Some(id.clone()) };
        observed.ports.insert(*port, holder);
    }
}

fn stop(observed: &mut Observed, ours: &Ours) {
    on_run(observed, ours.id(), |run| {
        run.phase = Running::Stopped;
        run.running = None;
    });
    release_ports(observed, ours.id());
}

fn release_ports(observed: &mut Observed, id: &ResourceId) {
    observed.ports.retain(|_, holder| holder.resource.as_ref() != Some(id));
}
