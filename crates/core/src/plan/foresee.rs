//! A model of the machine after successful steps: it verifies that a plan leaves nothing to do, and the laws are
//! tested with it.

use super::part::{Instance, PartCall};
use super::result::Plan;
use super::step::{Action, Phase, Step};
use crate::live::{
    InstanceState, Live, LiveFile, LiveRun, Managed, Observation, Ownership, PortHolder, Presence, RunState,
};
use crate::resolve::Desired;
use crate::resource::{Kind, Prerequisite, Resource, ResourceId, Spec};
use crate::targets;
use std::collections::BTreeMap;

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
pub fn foresee(desired: &Desired, mut observed: Observation, step: &Step) -> Observation {
    let resource = step.action.on().and_then(|id| desired.resources.get(id));
    match &step.action {
        Action::GenerateSecret(id) => present(&mut observed, id, Live::Secret),
        Action::CreateEnvironment(id) => present(&mut observed, id, Live::Environment { complete: true }),
        Action::FetchArtifact(id) => fetched(&mut observed, id, resource),
        Action::VerifyArtifact(id) => verified(&mut observed, id, resource),
        Action::PullImage(id) => present(&mut observed, id, Live::Image { managed: true }),
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
                Live::Model {
                    recorded,
                    loaded: false,
                    sha256,
                    managed: true,
                    kept: false,
                    unserved: false,
                    edited: false,
                    effective: BTreeMap::new(),
                },
            );
        }
        Action::LoadModel(id) => {
            if let Some(Presence::Present(Live::Model { loaded, .. })) = observed.resources.get_mut(id) {
                *loaded = true;
            }
        }
        Action::WriteFile(id) => {
            let marker = resource.map(|resource| claim(desired, resource));
            present(&mut observed, id, Live::File(LiveFile { marker, text: None }));
        }
        Action::Define(id) => {
            if let Some(resource) = resource {
                define(desired, &mut observed, id, resource);
                // What hands its socket off has no definition under its own name.
                on_run(&mut observed, id, |run| run.socket_handoff = false);
            }
        }
        Action::Create(id) => {
            if let Some(resource) = resource {
                define(desired, &mut observed, id, resource);
                on_run(&mut observed, id, |run| run.loaded = true);
            }
        }
        Action::Prepare { kind, what } => {
            observed.prerequisites.insert(what.clone());
            if let Prerequisite::Network(name) = what {
                observed.networks.insert(name.clone(), *kind);
            }
        }
        Action::RemoveNetwork { name, .. } => {
            observed.prerequisites.remove(&Prerequisite::Network(name.clone()));
            observed.networks.remove(name);
        }
        Action::SetAside(managed) => {
            if let Some(aside) = targets::previous(managed.id()) {
                rename(&mut observed, managed.id(), aside);
            }
        }
        Action::Discard(managed) => {
            observed.resources.insert(managed.id().clone(), Presence::Absent);
        }
        Action::Restore { server, previous } => rename(&mut observed, previous.id(), server.clone()),
        Action::ReloadManager(kind) => each_run(&mut observed, *kind, |run| run.loaded = true),
        Action::Enable(id) => on_run(&mut observed, id, |run| run.enabled = true),
        Action::Start(id) => start(desired, &mut observed, id, resource),
        Action::Restart(managed) => start(desired, &mut observed, managed.id(), resource),
        Action::Part(call) => part(desired, &mut observed, call, resource),
        Action::Sleep(managed) => on_run(&mut observed, managed.id(), |run| run.asleep = true),
        Action::Wake(managed) => on_run(&mut observed, managed.id(), |run| run.asleep = false),
        Action::Stop(managed) => stop(&mut observed, managed),
        Action::RemovePrevious(managed) => {
            if let Some(aside) = targets::previous(managed.id()) {
                observed.resources.remove(&aside);
            }
        }
        Action::RemoveAside { previous, .. } => {
            observed.resources.remove(previous.id());
        }
        Action::AwaitHealthy(id) => on_run(&mut observed, id, |run| {
            if run.phase == RunState::Starting {
                run.phase = RunState::Running;
            }
        }),
        Action::Try(_) => {}
        Action::RemoveFile(managed)
        | Action::RemoveServer(managed)
        | Action::RemoveImage(managed)
        | Action::RemoveEnvironment(managed)
        | Action::RemoveArtifact(managed)
        | Action::RemoveModel(managed) => {
            observed.resources.remove(managed.id());
        }
    }
    observed
}

fn claim(desired: &Desired, resource: &Resource) -> Ownership {
    Ownership { stack: desired.stack.clone(), fingerprint: resource.fingerprint(), intact: true }
}

fn present(observed: &mut Observation, id: &ResourceId, live: Live) {
    observed.resources.insert(id.clone(), Presence::Present(live));
}

fn fetched(observed: &mut Observation, id: &ResourceId, resource: Option<&Resource>) {
    let Some(Spec::Artifact(artifact)) = resource.map(|resource| &resource.spec) else { return };
    let managed = artifact.source != crate::resource::ArtifactSource::File;
    let size = observed.download_sizes.get(id).copied().unwrap_or_default();
    present(observed, id, Live::Artifact { size, sha256: artifact.sha256.clone(), managed });
}

/// Computing a digest changes neither the file nor its ownership.
fn verified(observed: &mut Observation, id: &ResourceId, resource: Option<&Resource>) {
    let Some(Spec::Artifact(artifact)) = resource.map(|resource| &resource.spec) else { return };
    if let Some(Presence::Present(Live::Artifact { sha256, .. })) = observed.resources.get_mut(id) {
        sha256.clone_from(&artifact.sha256);
    }
}

fn on_run(observed: &mut Observation, id: &ResourceId, change: impl FnOnce(&mut LiveRun)) {
    if let Some(Presence::Present(Live::Run(run))) = observed.resources.get_mut(id) {
        change(run);
    }
}

fn each_run(observed: &mut Observation, kind: Kind, change: impl Fn(&mut LiveRun)) {
    for (id, presence) in &mut observed.resources {
        if let (true, Presence::Present(Live::Run(run))) = (id.kind == kind, presence) {
            change(run);
        }
    }
}

fn define(desired: &Desired, observed: &mut Observation, id: &ResourceId, resource: &Resource) {
    let definition = Some(claim(desired, resource));
    if observed.run(id).is_some() {
        on_run(observed, id, |run| {
            run.definition = definition;
            run.loaded = false;
        });
        return;
    }
    let enabled = targets::of_kind(id.kind).is_some_and(|target| !target.enables());
    let run = LiveRun { definition, loaded: false, enabled, ..LiveRun::stopped() };
    present(observed, id, Live::Run(Box::new(run)));
}

fn start(desired: &Desired, observed: &mut Observation, id: &ResourceId, resource: Option<&Resource>) {
    let Some((resource, spec)) = resource.and_then(|resource| Some((resource, resource.run()?))) else { return };
    let defines = targets::of_kind(id.kind).is_some_and(targets::Target::defines_on_start);
    if defines {
        define(desired, observed, id, resource);
    }
    let mut loaded = false;
    on_run(observed, id, |run| {
        run.phase = RunState::Running;
        run.why = None;
        run.asleep = false;
        run.socket_down = None;
        // What a new start makes of its settings is not known.
        run.effective.values.clear();
        // A manager that has not read the new definition starts the old one.
        loaded = run.loaded || defines;
        run.socket_handoff = spec.socket_handoff;
        // A process gets a new supervisor with each start.
        run.enabled |= defines;
        if loaded {
            run.loaded = true;
            run.running = run.definition.as_ref().map(|claim| claim.fingerprint.clone());
            run.memory_limit = spec.limits.memory;
        }
    });
    // A restarted server may have listened on other ports before.
    release_ports(observed, id);
    for port in &spec.ports {
        let holder = PortHolder { pid: None, command: spec.description.clone(), resource: Some(id.clone()) };
        observed.ports.insert(*port, holder);
    }
}

fn part(desired: &Desired, observed: &mut Observation, call: &PartCall, resource: Option<&Resource>) {
    let id = call.server().clone();
    let parts = observed.instances.entry(id.clone()).or_default();
    match call {
        PartCall::Define(instance) => {
            parts.others.insert(instance.number, InstanceState::Defined);
            parts.next = parts.next.max(instance.number + 1);
            if let (None, Some(resource)) = (observed.run(&id), resource) {
                // Its name does not lead to it yet.
                define(desired, observed, &id, resource);
                on_run(observed, &id, |run| (run.socket_handoff, run.loaded) = (true, true));
            }
        }
        PartCall::Start(Instance { number, .. }) if parts.current == Some(*number) => {
            start(desired, observed, &id, resource);
        }
        PartCall::Start(instance) => drop(parts.others.insert(instance.number, InstanceState::Started)),
        PartCall::OpenGate(instance) => drop(parts.others.insert(instance.number, InstanceState::Serving)),
        PartCall::MakeCurrent(instance) => make_current(desired, observed, instance, resource),
        PartCall::End { instance, .. } => {
            if parts.current == Some(instance.number) {
                stop(observed, &instance.server);
            } else if let Some(state) = parts.others.get_mut(&instance.number) {
                *state = InstanceState::Defined;
            }
        }
        PartCall::Remove(instance) => {
            parts.others.remove(&instance.number);
            let none = parts.current.is_none() && parts.others.is_empty();
            if none && observed.run(&id).is_some_and(|run| run.socket_handoff) {
                observed.resources.insert(id, Presence::Absent);
            }
        }
        PartCall::RemoveName { .. } => {
            if let Some(previous) = parts.current.take() {
                parts.others.insert(previous, InstanceState::Defined);
            }
            on_run(observed, &id, |run| run.enabled = false);
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
fn make_current(desired: &Desired, observed: &mut Observation, instance: &Instance, resource: Option<&Resource>) {
    let id = &instance.server;
    let parts = observed.instances.entry(id.clone()).or_default();
    let serves = parts.others.remove(&instance.number) == Some(InstanceState::Serving);
    if let Some(previous) = parts.current.replace(instance.number) {
        parts.others.insert(previous, if serves { InstanceState::Serving } else { InstanceState::Defined });
    }
    let Some(resource) = resource else { return };
    define(desired, observed, id, resource);
    on_run(observed, id, |run| (run.socket_handoff, run.loaded) = (true, run.loaded || serves));
    if serves {
        start(desired, observed, id, Some(resource));
    }
}

fn rename(observed: &mut Observation, from: &ResourceId, to: ResourceId) {
    if let Some(presence) = observed.resources.insert(from.clone(), Presence::Absent) {
        observed.resources.insert(to, presence);
    }
}

fn stop(observed: &mut Observation, managed: &Managed) {
    on_run(observed, managed.id(), |run| {
        run.phase = RunState::Stopped;
        run.running = None;
    });
    release_ports(observed, managed.id());
}

fn release_ports(observed: &mut Observation, id: &ResourceId) {
    observed.ports.retain(|_, holder| holder.resource.as_ref() != Some(id));
}
