//! Differences to steps: which calls make them, and what each must wait for.
//!
//! Three phases. **Stage** disturbs nothing. **Switch** stops only what must give something up, writes, reloads and
//! starts. **Prune** stops and clears what is no longer declared, once the new generation has proved itself.

use super::Past;
use super::compare::{Difference, Go, RunWork, Work};
use super::contention::{Handover, handover};
use super::step::{Action, Phase, Step, StepId};
use crate::desired::Desired;
use crate::observed::{Found, Observed, Ours, Seen};
use crate::resource::{Gpus, Kind, OllamaName, Probe, Resource, ResourceId, ServedModel, Spec};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn order(desired: &Desired, observed: &Observed, past: &Past, changes: &[Difference]) -> Vec<Step> {
    let handover = handover(desired, observed, past, changes);
    let mut steps = Steps::default();
    let work: Vec<(&ResourceId, &Work)> =
        changes.iter().filter_map(|difference| Some((&difference.change.on, difference.work.as_ref()?))).collect();
    stage(desired, observed, past, &work, &mut steps);
    switch(desired, observed, past, &work, &handover, &mut steps);
    prune(past, &work, &handover, &mut steps);
    steps.list
}

/// The steps so far, and the step to wait for to have a resource ready.
#[derive(Default)]
struct Steps {
    list: Vec<Step>,
    /// The last step that brings a resource to its wish.
    ready: BTreeMap<ResourceId, StepId>,
}

impl Steps {
    fn add(&mut self, phase: Phase, action: Action, mut after: Vec<StepId>) -> StepId {
        after.sort_unstable();
        after.dedup();
        let id = StepId(self.list.len());
        self.list.push(Step { id, phase, action, after });
        id
    }

    /// Returns the steps of `phase` that make what `resource` needs.
    fn needed(&self, resource: &Resource, phase: Phase) -> Vec<StepId> {
        let ready = resource.needs.iter().filter_map(|id| self.ready.get(id).copied());
        ready.filter(|step| self.list[step.0].phase == phase).collect()
    }
}

fn stage(desired: &Desired, observed: &Observed, past: &Past, work: &[(&ResourceId, &Work)], steps: &mut Steps) {
    // Kinds are ordered so that what others are made with comes first: secrets, environments, artifacts.
    for (id, work) in work {
        let action = match (id.kind, work) {
            (Kind::Secret, Work::Make) => Action::GenerateSecret((*id).clone()),
            (Kind::Environment, Work::Make) => Action::CreateEnvironment((*id).clone()),
            (Kind::Artifact, Work::Make) => Action::FetchArtifact((*id).clone()),
            (Kind::Image, Work::Make) => Action::PullImage((*id).clone()),
            (Kind::Artifact, Work::Verify) => Action::VerifyArtifact((*id).clone()),
            _ => continue,
        };
        let after = desired.resources.get(*id).map(|resource| steps.needed(resource, Phase::Stage));
        let step = steps.add(Phase::Stage, action, after.unwrap_or_default());
        steps.ready.insert((*id).clone(), step);
    }
    models(desired, observed, past, work, Phase::Stage, steps);
}

/// Returns the content that a model has and must be able to go back to, if that is to be another now.
fn content_to_keep(
    desired: &Desired,
    observed: &Observed,
    past: &Past,
    resource: &Resource,
    model: &ServedModel,
) -> bool {
    let Some(Seen::Present(Found::Model { sha256: Some(content), .. })) = observed.things.get(&resource.id) else {
        return false;
    };
    model.sha256.as_ref() != Some(content) && past.keep.contains(&model.kept(&desired.stack, content).0)
}

/// Adds the steps of models: while staging where their server runs on as it is, else once it is up again.
fn models(
    desired: &Desired,
    observed: &Observed,
    past: &Past,
    work: &[(&ResourceId, &Work)],
    phase: Phase,
    steps: &mut Steps,
) {
    let work: BTreeMap<&ResourceId, &Work> = work.iter().copied().collect();
    let mut pulls: BTreeMap<(&str, &OllamaName), StepId> = BTreeMap::new();
    let starts = |id: &ResourceId| matches!(work.get(id), Some(Work::Run(run)) if run.go != Go::Leave);
    for resource in desired.resources.values() {
        let Spec::Model(model) = &resource.spec else { continue };
        let restarts = resource.needs.iter().any(starts);
        if restarts != (phase == Phase::Switch) {
            continue;
        }
        let after = steps.needed(resource, phase);
        let pulled = (work.get(&resource.id) == Some(&&Work::Make)).then(|| {
            // While a server pulls a name it has none of it: whoever else needs it waits, and finds it there.
            let name = (model.endpoint.as_str(), &model.source);
            let mut after: Vec<StepId> = after.iter().chain(pulls.get(&name)).copied().collect();
            if !pulls.contains_key(&name) && content_to_keep(desired, observed, past, resource, model) {
                after = vec![steps.add(phase, Action::KeepContent(resource.id.clone()), after)];
            }
            let step = steps.add(phase, Action::PullModel(resource.id.clone()), after);
            pulls.insert(name, step);
            step
        });
        let loads = restarts || pulled.is_some() || work.get(&resource.id) == Some(&&Work::Load);
        if model.pinned && loads {
            let after = pulled.map_or(after, |step| vec![step]);
            steps.add(phase, Action::LoadModel(resource.id.clone()), after);
        }
    }
}

fn switch(
    desired: &Desired,
    observed: &Observed,
    past: &Past,
    work: &[(&ResourceId, &Work)],
    handover: &Handover,
    steps: &mut Steps,
) {
    let runs: BTreeMap<&ResourceId, &RunWork> = work
        .iter()
        .filter_map(|(id, work)| if let Work::Run(work) = work { Some((*id, work)) } else { None })
        .collect();
    let hands_on = |id: &ResourceId| desired.resources.get(id).and_then(Resource::run).is_some_and(|run| run.hands_on);
    // What hands its port on has a unit for each of its instances, made when it starts.
    let is_plain = |id: &ResourceId| id.kind == Kind::Unit && !hands_on(id);
    // Clients reach new routes only when what these lead to has proved itself, and the former gateway serves until then.
    let last = behind_the_rest(desired, handover, &runs);
    let serves_on = |ours: &&Ours| {
        let id = ours.id();
        let waiting = handover.waits.iter().filter(|(_, waits)| waits.contains(id)).map(|(id, _)| id);
        let mut takers = waiting.chain(Some(id).filter(|id| runs.contains_key(id))).peekable();
        let unwritten = !(is_plain(id) && runs.get(id).is_some_and(|work| work.write));
        takers.peek().is_some() && takers.all(|id| last.contains(id)) && unwritten
    };
    let (last_stops, first_stops): (Vec<&Ours>, Vec<&Ours>) = work
        .iter()
        .filter_map(|(_, work)| match work {
            Work::Remove { ours, up: true } | Work::Run(RunWork { go: Go::Restart(ours), .. }) => Some(ours),
            _ => None,
        })
        .filter(|ours| {
            handover.stop.contains(ours.id())
                || desired
                    .resources
                    .get(ours.id())
                    .is_some_and(|resource| !restarts_in_one(desired, observed, resource))
        })
        .partition(serves_on);
    // What sleeps already has made room.
    let asleep = |ours: &&Ours| observed.run(ours.id()).is_some_and(|found| found.asleep);
    let first_stops: Vec<&Ours> =
        first_stops.into_iter().filter(|ours| !(handover.sleep.contains(ours.id()) && asleep(ours))).collect();
    let mut stopped = stop(past, Phase::Switch, &handover.sleep, &first_stops, &[], steps);

    for (id, _) in work.iter().filter(|(_, work)| **work == Work::Write) {
        let step = steps.add(Phase::Switch, Action::WriteFile((*id).clone()), Vec::new());
        steps.ready.insert((*id).clone(), step);
    }
    let units: Vec<(&ResourceId, &RunWork)> =
        runs.iter().filter(|(id, _)| is_plain(id)).map(|(id, work)| (*id, *work)).collect();
    let written: Vec<StepId> = units
        .iter()
        .filter(|(_, work)| work.write)
        .map(|(id, _)| {
            // What it was made of before may stand where its file belongs, and goes with the stop.
            let own_stop = stopped.get(*id).copied().into_iter().collect();
            steps.add(Phase::Switch, Action::WriteUnit((*id).clone()), own_stop)
        })
        .collect();
    let reloaded =
        units.iter().any(|(_, work)| work.reload).then(|| steps.add(Phase::Switch, Action::ReloadManager, written));

    let first_on_gpu = first_on_gpu(desired, past, &runs);
    let order = by_need(desired, &first_on_gpu, runs.keys().copied());
    let (last, first): (Vec<&ResourceId>, Vec<&ResourceId>) = order.into_iter().partition(|id| last.contains(id));
    let bring = |id: &ResourceId, stopped: &BTreeMap<ResourceId, StepId>, proved: &[StepId], steps: &mut Steps| {
        let (Some(work), Some(resource)) = (runs.get(id), desired.resources.get(id)) else { return };
        let reload: Vec<StepId> = reloaded.filter(|_| is_plain(id)).into_iter().collect();
        if work.enable && (is_plain(id) || (hands_on(id) && work.go == Go::Leave)) {
            steps.add(Phase::Switch, Action::EnableUnit(id.clone()), reload.clone());
        }
        let mut after = steps.needed(resource, Phase::Switch);
        after.extend(reload);
        after.extend(handover.waits.get(id).into_iter().flatten().filter_map(|id| stopped.get(id).copied()));
        after.extend(first_on_gpu.get(id).into_iter().flatten().filter_map(|id| steps.ready.get(*id).copied()));
        let own_stop = stopped.get(id).copied();
        after.extend(own_stop);
        let action = match (&work.go, own_stop) {
            (Go::Leave, _) => return,
            (Go::HandOver(ours), _) => {
                let rehearsed = steps.add(Phase::Switch, Action::Rehearse(id.clone()), after);
                after = vec![rehearsed];
                Action::HandOver(ours.clone())
            }
            (Go::Restart(ours), None) => Action::Restart(ours.clone()),
            (Go::Wake(ours), None) => Action::Wake(ours.clone()),
            _ => Action::Start(id.clone()),
        };
        after.extend(proved);
        let started = steps.add(Phase::Switch, action, after);
        let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(id.clone()), vec![started]);
        steps.ready.insert(id.clone(), healthy);
    };
    for id in first {
        bring(id, &stopped, &[], steps);
    }
    models(desired, observed, past, work, Phase::Switch, steps);
    let proves = |step: &&Step| {
        let proof = matches!(step.action, Action::AwaitHealthy(_) | Action::PullModel(_) | Action::LoadModel(_));
        proof && step.phase == Phase::Switch
    };
    let proved: Vec<StepId> = steps.list.iter().filter(proves).map(|step| step.id).collect();
    stopped.extend(stop(past, Phase::Switch, &handover.sleep, &last_stops, &proved, steps));
    for id in last {
        bring(id, &stopped, &proved, steps);
    }
}

/// Returns the gateway, where it takes the place of one that serves, and all that needs it.
fn behind_the_rest<'a>(
    desired: &'a Desired,
    handover: &Handover,
    runs: &BTreeMap<&'a ResourceId, &RunWork>,
) -> BTreeSet<&'a ResourceId> {
    let changes = |id: &ResourceId| match runs.get(id).map(|work| &work.go) {
        Some(Go::HandOver(_) | Go::Restart(_)) => true,
        Some(Go::Start) => handover.waits.contains_key(id),
        Some(Go::Wake(_) | Go::Leave) | None => false,
    };
    let gateway = desired.gateway().map(|(id, _)| id).filter(|id| changes(id));
    let mut behind: BTreeSet<&ResourceId> = gateway.into_iter().collect();
    loop {
        let needs_one = |resource: &&Resource| resource.needs.iter().any(|need| behind.contains(need));
        let more: Vec<&ResourceId> =
            desired.resources.values().filter(needs_one).map(|resource| &resource.id).collect();
        let before = behind.len();
        behind.extend(more);
        if behind.len() == before {
            return behind;
        }
    }
}

/// Returns whether a server can be restarted in one call: a plain unit that stays one. A process and a container have no
/// such call, and a unit that comes to hand its port on, or no longer does, is made of other parts.
fn restarts_in_one(desired: &Desired, observed: &Observed, resource: &Resource) -> bool {
    let found = observed.run(&resource.id).is_some_and(|found| found.hands_on);
    let wanted = desired.resources.get(&resource.id).and_then(Resource::run).is_some_and(|run| run.hands_on);
    resource.id.kind == Kind::Unit && !found && !wanted
}

/// Adds a stop for each, or has it sleep, so that what needs another stops before it, and all of them after the steps in `first`.
fn stop(
    past: &Past,
    phase: Phase,
    sleep: &BTreeSet<ResourceId>,
    ours: &[&Ours],
    first: &[StepId],
    steps: &mut Steps,
) -> BTreeMap<ResourceId, StepId> {
    let ids: BTreeMap<&ResourceId, &Ours> = ours.iter().map(|ours| (ours.id(), *ours)).collect();
    let mut dependents: BTreeMap<&ResourceId, Vec<&ResourceId>> = BTreeMap::new();
    for id in ids.keys() {
        for need in past.needs.get(*id).into_iter().flatten().filter(|need| ids.contains_key(need)) {
            dependents.entry(need).or_default().push(id);
        }
    }
    let mut stopped = BTreeMap::new();
    let order = sorted(ids.keys().copied(), |id| dependents.get(id).cloned().unwrap_or_default());
    for id in order {
        let dependents = dependents.get(id).into_iter().flatten().filter_map(|id| stopped.get(*id).copied());
        let after = dependents.chain(first.iter().copied()).collect();
        if let Some(ours) = ids.get(id) {
            let ours = (*ours).clone();
            let action = if sleep.contains(id) { Action::Sleep(ours) } else { Action::Stop(ours) };
            stopped.insert(id.clone(), steps.add(phase, action, after));
        }
    }
    stopped
}

fn prune(past: &Past, work: &[(&ResourceId, &Work)], handover: &Handover, steps: &mut Steps) {
    let mut gone: Vec<(&Ours, bool)> = work
        .iter()
        .filter_map(|(_, work)| if let Work::Remove { ours, up } = work { Some((ours, *up)) } else { None })
        .collect();
    let still_up = |id: &ResourceId| !handover.stop.contains(id) || handover.sleep.contains(id);
    let up: Vec<&Ours> = gone.iter().filter(|(ours, up)| *up && still_up(ours.id())).map(|(ours, _)| *ours).collect();
    // A server must be asked for its models while it is there, and for one after another: while it clears away what no
    // name needs any more, it does not know those that share a part of it.
    let mut emptied: Vec<StepId> = Vec::new();
    for (ours, _) in gone.iter().filter(|(ours, _)| ours.id().kind == Kind::Model) {
        let before = emptied.last().copied().into_iter().collect();
        emptied.push(steps.add(Phase::Prune, Action::RemoveModel((*ours).clone()), before));
    }
    let stopped = stop(past, Phase::Prune, &BTreeSet::new(), &up, &emptied, steps);
    // A file, an environment or a model may be in use by any of the servers that stop.
    let quiet: Vec<StepId> = stopped.values().copied().collect();
    let mut removed_units = Vec::new();
    let mut containers: Vec<StepId> = work
        .iter()
        .filter_map(|(_, work)| if let Work::Run(RunWork { former, .. }) = work { former.as_ref() } else { None })
        .map(|ours| steps.add(Phase::Prune, Action::RemoveFormer(ours.clone()), Vec::new()))
        .collect();
    // An image can go when no container is made of it any more.
    gone.sort_by_key(|(ours, _)| ours.id().kind == Kind::Image);
    for (ours, _) in gone {
        let own: Vec<StepId> = stopped.get(ours.id()).copied().into_iter().collect();
        let (action, after) = match ours.id().kind {
            Kind::Unit => (Action::RemoveUnit(ours.clone()), own),
            Kind::Process => (Action::RemoveProcess(ours.clone()), own),
            // One of them may be the very one that a removal before has cleared away.
            Kind::Container => {
                (Action::RemoveContainer(ours.clone()), own.into_iter().chain(containers.iter().copied()).collect())
            }
            Kind::Image => (Action::RemoveImage(ours.clone()), containers.clone()),
            Kind::File => (Action::RemoveFile(ours.clone()), quiet.clone()),
            Kind::Environment => (Action::RemoveEnvironment(ours.clone()), quiet.clone()),
            Kind::Artifact => (Action::RemoveArtifact(ours.clone()), quiet.clone()),
            Kind::Secret | Kind::Model => continue,
        };
        let unit = ours.id().kind == Kind::Unit;
        let step = steps.add(Phase::Prune, action, after);
        removed_units.extend(unit.then_some(step));
        containers.extend((ours.id().kind == Kind::Container).then_some(step));
    }
    if !removed_units.is_empty() {
        steps.add(Phase::Prune, Action::ReloadManager, removed_units);
    }
}

/// Returns for each server that starts the ones that start before it on a GPU of its own: one after another, because
/// each looks how much memory is free while it starts, and vLLM first, because it takes a share of all there is. Who had a
/// place there before comes before who is new.
fn first_on_gpu<'a>(
    desired: &'a Desired,
    past: &Past,
    runs: &BTreeMap<&'a ResourceId, &RunWork>,
) -> BTreeMap<&'a ResourceId, Vec<&'a ResourceId>> {
    let starting = runs.iter().filter(|(_, work)| work.go != Go::Leave).filter_map(|(id, _)| {
        let run = desired.resources.get(*id)?.run()?;
        let place = (!matches!(run.probe, Probe::Vllm { .. }), !past.gpus.contains_key(*id));
        (!run.gpus.is_none()).then_some((place, *id, &run.gpus))
    });
    let mut starting: Vec<((bool, bool), &ResourceId, &Gpus)> = starting.collect();
    starting.sort_by_key(|(place, id, _)| (*place, *id));
    let earlier = |index: usize| {
        let shares = |other: &&((bool, bool), &'a ResourceId, &Gpus)| other.2.shares_one(starting[index].2);
        starting[..index].iter().filter(shares).map(|(_, id, _)| *id).collect()
    };
    (0..starting.len()).map(|index| (starting[index].1, earlier(index))).collect()
}

/// Sorts servers so that each comes after those that it needs, and those that start first on its GPU.
fn by_need<'a>(
    desired: &'a Desired,
    first_on_gpu: &BTreeMap<&'a ResourceId, Vec<&'a ResourceId>>,
    ids: impl Iterator<Item = &'a ResourceId>,
) -> Vec<&'a ResourceId> {
    let ids: BTreeSet<&ResourceId> = ids.collect();
    sorted(ids.iter().copied(), |id| {
        let needs = desired.resources.get(id).map(|resource| &resource.needs).into_iter().flatten();
        let first = first_on_gpu.get(id).into_iter().flatten().copied();
        needs.filter(|need| ids.contains(need)).chain(first).collect()
    })
}

/// Sorts by a relation without cycles, ties by name; what stands in a cycle keeps its place by name.
fn sorted<'a>(
    ids: impl Iterator<Item = &'a ResourceId>,
    before: impl Fn(&'a ResourceId) -> Vec<&'a ResourceId>,
) -> Vec<&'a ResourceId> {
    fn visit<'a>(
        id: &'a ResourceId,
        before: &impl Fn(&'a ResourceId) -> Vec<&'a ResourceId>,
        known: &mut BTreeSet<&'a ResourceId>,
        order: &mut Vec<&'a ResourceId>,
    ) {
        if known.insert(id) {
            for other in before(id) {
                visit(other, before, known, order);
            }
            order.push(id);
        }
    }
    let (mut known, mut order) = (BTreeSet::new(), Vec::new());
    for id in ids {
        visit(id, &before, &mut known, &mut order);
    }
    order
}
