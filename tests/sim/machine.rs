//! How the simulated machine is looked at and changed: each action's effect on what really is there.

use crate::models;
use crate::stacks::STACK;
use crate::truth::{Definition, Instance, MarkedFile, Process, Server, Truth};
use llamero::live::{
    InstanceState, Instances, Live, LiveFile, LiveRun, Observation, Ownership, PortHolder, Presence, RunState,
};
use llamero::observe::Depth;
use llamero::plan::{Action, PartCall};
use llamero::resolve::Desired;
use llamero::resource::{Bytes, Health, Kind, Prerequisite, Resource, ResourceId, Spec};
use llamero::targets::previous;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn observe(
    truth: &Truth,
    now: Duration,
    desired: &Desired,
    inventory: &[Resource],
    depth: Depth,
) -> Observation {
    let mut observed = Observation::default();
    let known: BTreeMap<&ResourceId, &Resource> =
        inventory.iter().map(|resource| (&resource.id, resource)).chain(desired.resources.iter()).collect();
    let mut servers: BTreeSet<ResourceId> = known.keys().filter(|id| id.kind.runs()).map(|id| (*id).clone()).collect();
    let marked = |server: &Server| {
        server.definition.as_ref().is_some_and(|definition| definition.stack.as_deref() == Some(STACK))
    };
    servers.extend(truth.servers.iter().filter(|(_, server)| marked(server)).map(|(id, _)| id.clone()));
    for (id, resource) in &known {
        let presence = match &resource.spec {
            Spec::Secret(secret) => truth.secrets.get(&secret.path).map(|_| Live::Secret),
            Spec::Environment(environment) => {
                truth.environments.get(&environment.path).map(|complete| Live::Environment { complete: *complete })
            }
            Spec::Artifact(artifact) => truth.artifacts.get(&artifact.path).map(|sha256| Live::Artifact {
                size: 1,
                sha256: sha256.clone(),
                managed: true,
            }),
            Spec::Image(_) => truth.images.get(*id).map(|_| Live::Image { managed: true }),
            Spec::File(file) => truth.files.get(&file.path).map(|file| Live::File(live_file(file, id))),
            Spec::Model(model) => {
                let presence = models::inspect(truth, now, &desired.stack, id, model);
                observed.resources.insert((*id).clone(), presence);
                continue;
            }
            Spec::Run(_) => continue,
        };
        observed.resources.insert((*id).clone(), presence.map_or(Presence::Absent, Presence::Present));
    }
    observed.resources.extend(models::others(truth, now, |id| known.contains_key(id)));
    for id in servers {
        let mut presence = inspect(truth, now, &desired.stack, &id);
        if depth == Depth::Health
            && let Presence::Present(Live::Run(live)) = &mut presence
            && live.is_up()
        {
            live.health = Some(health(truth.servers.get(&id), now));
        }
        observed.resources.insert(id, presence);
    }
    let hands_off =
        |id: &ResourceId| known.get(id).and_then(|resource| resource.run()).is_some_and(|it| it.socket_handoff);
    for id in observed.resources.keys().filter(|id| id.kind == Kind::Unit) {
        let server = truth.servers.get(id).cloned().unwrap_or_default();
        if hands_off(id) || server.current.is_some() || !server.others.is_empty() {
            observed.instances.insert(id.clone(), instances(&server));
        }
    }
    observed.prerequisites.clone_from(&truth.prerequisites);
    observed.networks = truth.prerequisites.iter().filter_map(network).collect();
    let asked: BTreeSet<u16> =
        known.values().filter_map(|resource| resource.run()).flat_map(|run| run.ports.clone()).collect();
    for (port, id) in truth.listeners(now).into_iter().filter(|(port, _)| asked.contains(port)) {
        let process = truth.servers[&id].process.as_ref();
        let managed = process.is_some_and(|process| process.definition.stack.as_deref() == Some(STACK));
        let holder = PortHolder { pid: Some(1), command: id.name.clone(), resource: managed.then(|| id.clone()) };
        observed.ports.insert(port, holder);
    }
    observed
}

fn instances(server: &Server) -> Instances {
    let state = |instance: &Instance| match instance.process {
        None => InstanceState::Defined,
        Some(_) if instance.serves => InstanceState::Serving,
        Some(_) => InstanceState::Started,
    };
    let others = server.others.iter().map(|(number, instance)| (*number, state(instance))).collect();
    Instances { current: server.current, others, next: last_number(server) + 1, listens: server.listens }
}

/// Returns the last number that an instance has.
fn last_number(server: &Server) -> u64 {
    server.others.keys().copied().chain(server.current).max().unwrap_or_default()
}

fn network(prerequisite: &Prerequisite) -> Option<(String, Kind)> {
    if let Prerequisite::Network(name) = prerequisite { Some((name.clone(), Kind::Container)) } else { None }
}

fn live_file(file: &MarkedFile, id: &ResourceId) -> LiveFile {
    let owner = file.owner.as_ref().filter(|(_, resource)| resource == id);
    let marker = owner.zip(file.fingerprint.as_ref()).map(|((stack, _), fingerprint)| Ownership {
        stack: stack.clone(),
        fingerprint: fingerprint.clone(),
        intact: file.intact,
    });
    LiveFile { marker, text: None }
}

pub(crate) fn inspect(truth: &Truth, now: Duration, stack: &str, id: &ResourceId) -> Presence {
    let Some(server) = truth.servers.get(id).filter(|server| !server.is_gone()) else { return Presence::Absent };
    // A unit without a file that does not run is gone, also where the manager remembers it.
    if server.definition.is_none() && server.process.is_none() && server.others.is_empty() {
        return Presence::Absent;
    }
    let running = server.process.as_ref().filter(|_| server.state == RunState::Running);
    let of_process = || running.map(|process| Definition { intact: false, ..process.definition.clone() });
    let last = || server.others.values().last().map(|instance| instance.definition.clone());
    // Its manager still knows what the file said.
    let of_manager = || server.loaded.clone().filter(|_| server.process.is_some());
    let of_manager = || of_manager().map(|definition| Definition { intact: false, ..definition });
    let named = server.definition.clone().or_else(of_process).or_else(of_manager);
    let of_last = named.is_none();
    let definition = named.or_else(last);
    let claim = definition.as_ref().and_then(|definition| {
        Some(Ownership {
            stack: definition.stack.clone()?,
            fingerprint: definition.fingerprint.clone(),
            intact: definition.intact,
        })
    });
    let _ = stack;
    let unit = id.kind == Kind::Unit;
    let age = running.map(|process| now.saturating_sub(process.started));
    let grows = running.is_some_and(|process| process.behaviour.progress);
    let live = LiveRun {
        definition: claim,
        loaded: !unit || server.loaded == server.definition || server.definition.is_none(),
        enabled: !unit || server.enabled,
        phase: server.state,
        running: running.map(|process| process.definition.fingerprint.clone()),
        identity: running.map(|process| process.number.to_string()),
        restarts: server.restarts,
        why: server.why.clone().filter(|_| server.state != RunState::Running),
        memory: age.filter(|_| grows).map(|age| Bytes(u64::try_from(age.as_millis()).unwrap_or(0) << 16)),
        memory_limit: running.and_then(|process| process.definition.run.limits.memory),
        socket_handoff: server.current.is_some() || of_last,
        asleep: running.is_some_and(|process| process.asleep),
        ..LiveRun::stopped()
    };
    Presence::Present(Live::Run(Box::new(live)))
}

pub(crate) fn health(server: Option<&Server>, now: Duration) -> Health {
    let Some(server) = server.filter(|server| server.state == RunState::Running) else {
        return Health::unreachable("no answer");
    };
    if server.is_healthy(now) {
        return Health::Healthy;
    }
    let process = server.process.as_ref().expect("it runs");
    if process.asleep {
        return Health::unhealthy("it sleeps");
    }
    if process.behaviour.ready.is_some() { Health::loading("loading") } else { Health::unhealthy("wrong") }
}

/// Returns in how many parts an action has its effect: between them it may be cut off.
pub(crate) const fn parts(action: &Action) -> u8 {
    match action {
        Action::CreateEnvironment(_) | Action::PullModel(_) => 2,
        Action::RemoveServer(managed) if matches!(managed.id().kind, Kind::Unit) => 2,
        _ => 1,
    }
}

/// Makes one part of an action's effect.
pub(crate) fn perform(
    truth: &mut Truth,
    now: Duration,
    desired: &Desired,
    inventory: &[Resource],
    (action, part): (&Action, u8),
) -> Result<(), String> {
    let known = |id: &ResourceId| {
        let known = desired.resources.get(id).or_else(|| inventory.iter().find(|resource| resource.id == *id));
        known.map(|resource| &resource.spec).ok_or_else(|| format!("{id} is not known"))
    };
    let declared = |id: &ResourceId| desired.resources.get(id).ok_or_else(|| format!("{id} is not declared"));
    let definition = |id: &ResourceId| {
        let resource = declared(id)?;
        let run = resource.run().cloned().map(Arc::new).ok_or_else(|| format!("{id} does not run"))?;
        let (stack, fingerprint) = (Some(desired.stack.clone()), resource.fingerprint());
        Ok::<Definition, String>(Definition { stack, fingerprint, intact: true, run })
    };
    match action {
        Action::GenerateSecret(id) => {
            let Spec::Secret(secret) = known(id)? else { return Err("not a secret".to_owned()) };
            truth.secrets.entry(secret.path.clone()).or_insert_with(|| "key".to_owned());
        }
        Action::CreateEnvironment(id) => {
            let Spec::Environment(environment) = known(id)? else { return Err("not an environment".to_owned()) };
            truth.environments.insert(environment.path.clone(), part == 1);
        }
        Action::FetchArtifact(id) | Action::VerifyArtifact(id) => {
            let Spec::Artifact(artifact) = known(id)? else { return Err("not an artifact".to_owned()) };
            truth.artifacts.insert(artifact.path.clone(), artifact.sha256.clone());
        }
        Action::PullImage(id) => {
            truth.images.insert(id.clone());
        }
        Action::WriteFile(id) => {
            let Spec::File(file) = &declared(id)?.spec else { return Err("not a file".to_owned()) };
            still_managed(truth, &file.path, id)?;
            let fingerprint = Some(declared(id)?.fingerprint());
            let file_is = MarkedFile { owner: Some((desired.stack.clone(), id.clone())), fingerprint, intact: true };
            truth.files.insert(file.path.clone(), file_is);
        }
        Action::Define(id) => {
            let definition = definition(id)?;
            let server = truth.servers.entry(id.clone()).or_default();
            if server.definition.as_ref().is_some_and(|definition| definition.stack.as_ref() != Some(&desired.stack)) {
                return Err("it was replaced by another program".to_owned());
            }
            // The name that led to an instance is a unit of its own.
            leave(server);
            server.definition = Some(definition);
        }
        Action::ReloadManager(kind) => {
            for (_, server) in truth.servers.iter_mut().filter(|(id, _)| id.kind == *kind) {
                server.loaded.clone_from(&server.definition);
                server.others.values_mut().for_each(|instance| instance.loaded = true);
            }
        }
        Action::Enable(id) => truth.servers.entry(id.clone()).or_default().enabled = true,
        Action::Start(id) => start(truth, now, id, definition(id)?, false)?,
        Action::Restart(managed) => start(truth, now, managed.id(), definition(managed.id())?, true)?,
        Action::Part(call) => part_call(truth, now, call, definition)?,
        Action::Stop(managed) => {
            truth.stop(managed.id());
        }
        Action::RemoveFile(managed) => {
            let Spec::File(file) = known(managed.id())? else { return Err("not a file".to_owned()) };
            still_managed(truth, &file.path, managed.id())?;
            truth.files.remove(&file.path);
        }
        Action::RemoveServer(managed) if managed.id().kind == Kind::Unit => {
            truth.stop(managed.id());
            if let Some(server) = truth.servers.get_mut(managed.id()).filter(|_| part == 1) {
                (server.definition, server.enabled) = (None, false);
            }
        }
        Action::RemoveServer(managed) | Action::Discard(managed) => remove(truth, managed.id())?,
        Action::RemoveAside { previous, .. } => remove(truth, previous.id())?,
        Action::SetAside(managed) => {
            let aside = previous(managed.id()).ok_or("it has no second name")?;
            rename(truth, managed.id(), &aside)?;
        }
        Action::Restore { server, previous } => rename(truth, previous.id(), server)?,
        Action::Create(id) => {
            let definition = Some(definition(id)?);
            if truth.servers.get(id).is_some_and(|server| !server.is_gone()) {
                return Err("the name is taken".to_owned());
            }
            truth.servers.insert(id.clone(), Server { definition, ..Server::default() });
        }
        Action::Prepare { what, .. } => {
            truth.prerequisites.insert(what.clone());
        }
        Action::RemoveNetwork { name, .. } => {
            truth.prerequisites.remove(&Prerequisite::Network(name.clone()));
        }
        Action::RemovePrevious(managed) => {
            if let Some(aside) = previous(managed.id()) {
                remove(truth, &aside)?;
            }
        }
        Action::RemoveImage(managed) => {
            truth.images.remove(managed.id());
        }
        Action::RemoveEnvironment(managed) => {
            let Spec::Environment(environment) = known(managed.id())? else { return Err("not one".to_owned()) };
            truth.environments.remove(&environment.path);
        }
        Action::RemoveArtifact(managed) => {
            let Spec::Artifact(artifact) = known(managed.id())? else { return Err("not one".to_owned()) };
            truth.artifacts.remove(&artifact.path);
        }
        Action::KeepContent(id) => models::keep(truth, now, &desired.stack, declared(id)?)?,
        Action::PullModel(id) => models::pull(truth, now, &desired.stack, declared(id)?, part)?,
        Action::LoadModel(id) => models::load(truth, now, declared(id)?)?,
        Action::RemoveModel(managed) => models::remove(truth, now, desired, managed.id())?,
        Action::Sleep(managed) | Action::Wake(managed) => {
            let server = truth.servers.get_mut(managed.id()).filter(|server| server.state == RunState::Running);
            let process = server.and_then(|server| server.process.as_mut()).ok_or("it does not run")?;
            process.asleep = matches!(action, Action::Sleep(_));
        }
        Action::AwaitHealthy(_) | Action::Try(_) | Action::Purge(_) => {
            return Err(format!("the simulated machine has no `{action}`"));
        }
    }
    Ok(())
}

fn still_managed(truth: &Truth, path: &PathBuf, id: &ResourceId) -> Result<(), String> {
    let Some(file) = truth.files.get(path) else { return Ok(()) };
    let managed = file.owner.as_ref().is_some_and(|(stack, resource)| stack == STACK && resource == id);
    if managed { Ok(()) } else { Err("it was replaced by another program".to_owned()) }
}

fn start(truth: &mut Truth, now: Duration, id: &ResourceId, definition: Definition, again: bool) -> Result<(), String> {
    let server = truth.servers.entry(id.clone()).or_default();
    match id.kind {
        Kind::Unit => {
            if server.process.is_some() && !again && server.state == RunState::Running {
                return Ok(());
            }
            let loaded = server.loaded.clone().ok_or("there is no such unit")?;
            truth.stop(id);
            truth.start(id, loaded, now);
        }
        Kind::Process => {
            server.definition = Some(definition.clone());
            truth.stop(id);
            truth.start(id, definition, now);
        }
        _ => {
            // What was created is what starts, whatever is declared.
            let current = server.definition.clone().ok_or("there is no such container")?;
            if current.stack.as_deref() != Some(STACK) {
                return Err("the container is another program's".to_owned());
            }
            if server.process.is_some() && server.state == RunState::Running {
                return Ok(());
            }
            truth.stop(id);
            truth.start(id, current, now);
        }
    }
    Ok(())
}

fn remove(truth: &mut Truth, id: &ResourceId) -> Result<(), String> {
    if truth.servers.get(id).is_some_and(|server| server.process.is_some()) {
        return Err("it runs".to_owned());
    }
    truth.servers.remove(id);
    Ok(())
}

fn rename(truth: &mut Truth, from: &ResourceId, to: &ResourceId) -> Result<(), String> {
    if truth.servers.get(to).is_some_and(|server| !server.is_gone()) {
        return Err("the name is taken".to_owned());
    }
    let server = truth.servers.remove(from).ok_or("there is no such container")?;
    truth.servers.insert(to.clone(), server);
    Ok(())
}

/// Makes a call on a part of a server that hands its socket off.
fn part_call(
    truth: &mut Truth,
    now: Duration,
    call: &PartCall,
    definition: impl Fn(&ResourceId) -> Result<Definition, String>,
) -> Result<(), String> {
    let id = call.server();
    let of = |truth: &mut Truth, number: u64| {
        let other = truth.servers.get(id).and_then(|server| server.others.get(&number)).cloned();
        other.ok_or_else(|| format!("there is no instance {number}"))
    };
    match call {
        PartCall::Define(part) => {
            let definition = definition(id)?;
            let server = truth.servers.entry(id.clone()).or_default();
            if server.current == Some(part.number) || server.others.contains_key(&part.number) {
                return Err("the number is taken".to_owned());
            }
            server.others.insert(part.number, Instance { definition, loaded: false, process: None, serves: false });
        }
        PartCall::Start(part) if truth.servers.get(id).is_some_and(|server| server.current == Some(part.number)) => {
            let loaded = truth.servers[id].loaded.clone().ok_or("there is no such unit")?;
            truth.stop(id);
            truth.start(id, loaded, now);
        }
        PartCall::Start(part) => {
            let instance = of(truth, part.number)?;
            if !instance.loaded {
                return Err("there is no such unit".to_owned());
            }
            truth.starts += 1;
            let process = Process { clashed: false, ..truth.process(id, instance.definition, now) };
            let server = truth.servers.get_mut(id).ok_or("it is gone")?;
            server.others.entry(part.number).and_modify(|instance| instance.process = Some(process));
        }
        PartCall::Rehearse(part) => {
            let process = of(truth, part.number)?.process.ok_or("the successor does not run")?;
            let lives = process.behaviour.dies.is_none_or(|(after, _)| after.as_secs() > 1);
            if process.behaviour.ready.is_none() || !lives {
                return Err("the successor is not healthy".to_owned());
            }
        }
        PartCall::OpenGate(part) => {
            of(truth, part.number)?.process.ok_or("the successor does not run")?;
            let server = truth.servers.get_mut(id).ok_or("it is gone")?;
            server.others.entry(part.number).and_modify(|instance| instance.serves = true);
        }
        PartCall::MakeCurrent(part) => {
            let instance = of(truth, part.number)?;
            let server = truth.servers.get_mut(id).ok_or("it is gone")?;
            server.others.remove(&part.number);
            if instance.process.is_some() != instance.serves {
                return Err("clients do not reach it".to_owned());
            }
            leave(server);
            server.current = Some(part.number);
            server.state = if instance.process.is_some() { RunState::Running } else { RunState::Stopped };
            server.loaded = Some(instance.definition.clone()).filter(|_| instance.loaded);
            (server.definition, server.process) = (Some(instance.definition), instance.process);
            (server.restarts, server.why) = (0, None);
        }
        PartCall::Drain(part) => end(truth, id, part.number),
        PartCall::End { instance, .. } => end(truth, id, instance.number),
        PartCall::Remove(part) => {
            let server = truth.servers.get_mut(id).ok_or("it is gone")?;
            if server.others.remove(&part.number).is_some_and(|instance| instance.process.is_some()) {
                return Err("it runs".to_owned());
            }
        }
        PartCall::RemoveName { .. } => {
            if let Some(server) = truth.servers.get_mut(id) {
                leave(server);
                (server.definition, server.loaded, server.enabled) = (None, None, false);
            }
        }
        PartCall::StartSocket { .. } => {
            let server = truth.servers.get_mut(id).filter(|server| server.current.is_some());
            server.ok_or("the service of the socket is missing")?.listens = true;
        }
        PartCall::StopSocket { .. } => truth.servers.entry(id.clone()).or_default().listens = false,
        PartCall::DefineSocket { .. }
        | PartCall::EnableSocket { .. }
        | PartCall::RemoveSocket { .. }
        | PartCall::CloseGate(_)
        | PartCall::LowerWeight(_)
        | PartCall::RaiseWeight(_) => {}
    }
    Ok(())
}

/// The instance that was current is one of the others.
fn leave(server: &mut Server) {
    if let (Some(number), Some(definition)) = (server.current.take(), server.definition.take()) {
        let (process, loaded) = (server.process.take(), server.loaded.is_some());
        let serves = process.is_some();
        server.others.insert(number, Instance { definition, loaded, process, serves });
        server.state = RunState::Stopped;
    }
}

fn end(truth: &mut Truth, id: &ResourceId, number: u64) {
    if truth.servers.get(id).is_some_and(|server| server.current == Some(number)) {
        truth.stop(id);
    } else if let Some(server) = truth.servers.get_mut(id) {
        server.others.entry(number).and_modify(|instance| (instance.process, instance.serves) = (None, false));
    }
}
