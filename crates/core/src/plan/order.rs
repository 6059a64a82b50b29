//! Ordering: the steps that make the changes, and their dependencies.
//!
//! Three phases. **Stage** disturbs no running server. **Switch** stops only what must give something up, writes,
//! reloads and starts. **Prune** stops and removes undeclared resources, once the new generation is verified.

use super::compare::{Difference, Remedy, RunAction, RunRemedy};
use super::contention::{StopOrder, handoff};
use super::ends::{Ends, managed, parts_of};
use super::parts;
use super::past::Past;
use super::replace::{Replacement, missing, replacement, unused_networks};
use super::step::{Action, Arguments, Phase, Step, StepId};
use crate::live::{Live, Managed, Observation, Presence};
use crate::resolve::Desired;
use crate::resource::{Gpus, Kind, OllamaName, Resource, ResourceId, Seconds, ServedModel, Spec};
use crate::targets;
use std::collections::{BTreeMap, BTreeSet};

/// The default time for a server to stop.
pub(super) const LONGEST_STOP: Seconds = Seconds::new(300);

pub(super) fn order(desired: &Desired, observed: &Observation, past: &Past, changes: &[Difference]) -> Vec<Step> {
    let handoff = handoff(desired, observed, past, changes);
    let mut steps = Steps { desired, observed, past, list: Vec::new(), ready: BTreeMap::new() };
    let remedy: Vec<(&ResourceId, &Remedy)> =
        changes.iter().filter_map(|difference| Some((&difference.change.on, difference.remedy.as_ref()?))).collect();
    let replacements: BTreeMap<&ResourceId, Replacement> = remedy
        .iter()
        .filter_map(|(id, remedy)| {
            let (Remedy::Run(remedy), Some(resource)) = (remedy, desired.resources.get(*id)) else { return None };
            Some((*id, replacement(desired, observed, past, resource, remedy)?))
        })
        .collect();
    stage(desired, observed, past, &remedy, &mut steps);
    switch(desired, observed, past, &remedy, &handoff, &replacements, &mut steps);
    let ends = Ends { desired, observed, past, phase: Phase::Prune, sleep: &BTreeSet::new() };
    prune(&ends, &remedy, &handoff, &replacements, &mut steps);
    let unused = if desired.policy.prune { unused_networks(desired, observed) } else { Vec::new() };
    if !steps.list.is_empty() {
        let is_left = |step: &&Step| step.phase == Phase::Prune;
        let after: Vec<StepId> = steps.list.iter().filter(is_left).map(|step| step.id).collect();
        for (kind, name) in unused {
            steps.add(Phase::Prune, Action::RemoveNetwork { kind, name: name.clone() }, after.clone());
        }
    }
    steps.list
}

/// The steps so far, and the step to wait for to have a resource ready.
pub(super) struct Steps<'a> {
    desired: &'a Desired,
    observed: &'a Observation,
    past: &'a Past,
    list: Vec<Step>,
    /// The last step that brings a resource to its desired state.
    ready: BTreeMap<ResourceId, StepId>,
}

impl Steps<'_> {
    /// Adds steps one after another, the first after the steps in `after`; returns the last.
    pub(super) fn chain(&mut self, phase: Phase, actions: Vec<Action>, after: &[StepId]) -> Option<StepId> {
        let mut last = None;
        for action in actions {
            let before = last.map_or_else(|| after.to_vec(), |last| vec![last]);
            last = Some(self.add(phase, action, before));
        }
        last
    }

    fn add(&mut self, phase: Phase, action: Action, mut after: Vec<StepId>) -> StepId {
        after.sort_unstable();
        after.dedup();
        let id = StepId(self.list.len());
        let arguments = self.arguments(&action);
        let otherwise = action.otherwise();
        self.list.push(Step { id, phase, action, arguments, otherwise, after });
        id
    }

    /// Returns what a call takes beyond the desired state.
    fn arguments(&self, action: &Action) -> Arguments {
        let known = |id: &ResourceId| self.past.arguments.get(id).cloned().unwrap_or_default();
        let named = |id: Option<ResourceId>| Arguments { name: id.map(|id| id.name), ..Arguments::default() };
        match action {
            Action::Stop(managed) | Action::RemoveServer(managed) => {
                let stop_timeout = known(managed.id()).stop_timeout.unwrap_or(LONGEST_STOP);
                Arguments { stop_timeout: Some(stop_timeout), ..Arguments::default() }
            }
            Action::Sleep(managed) | Action::Wake(managed) => {
                let declared = self.desired.resources.get(managed.id()).map(Arguments::of);
                let known = declared.unwrap_or_else(|| known(managed.id()));
                Arguments { stop_timeout: Some(known.stop_timeout.unwrap_or(LONGEST_STOP)), ..known }
            }
            Action::CreateEnvironment(_) => Arguments { uv: self.observed.uv.clone(), ..Arguments::default() },
            Action::RemoveFile(managed)
            | Action::RemoveEnvironment(managed)
            | Action::RemoveArtifact(managed)
            | Action::RemoveImage(managed) => known(managed.id()),
            Action::SetAside(managed) | Action::RemovePrevious(managed) => named(targets::previous(managed.id())),
            _ => Arguments::default(),
        }
    }

    /// Returns the steps of `phase` that make what `resource` needs.
    fn needed(&self, resource: &Resource, phase: Phase) -> Vec<StepId> {
        let ready = resource.needs.iter().filter_map(|id| self.ready.get(id).copied());
        ready.filter(|step| self.list[step.0].phase == phase).collect()
    }
}

fn stage(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    remedy: &[(&ResourceId, &Remedy)],
    steps: &mut Steps<'_>,
) {
    // Kinds are ordered so that what others are made with comes first: secrets, environments, artifacts.
    for (id, remedy) in remedy {
        let action = match (id.kind, remedy) {
            (Kind::Secret, Remedy::Make) => Action::GenerateSecret((*id).clone()),
            (Kind::Environment, Remedy::Make) => Action::CreateEnvironment((*id).clone()),
            (Kind::Artifact, Remedy::Make) => Action::FetchArtifact((*id).clone()),
            (Kind::Image, Remedy::Make) => Action::PullImage((*id).clone()),
            (Kind::Artifact, Remedy::Verify) => Action::VerifyArtifact((*id).clone()),
            _ => continue,
        };
        let after = desired.resources.get(*id).map(|resource| steps.needed(resource, Phase::Stage));
        let step = steps.add(Phase::Stage, action, after.unwrap_or_default());
        steps.ready.insert((*id).clone(), step);
    }
    let starts = remedy.iter().filter(|(_, remedy)| matches!(remedy, Remedy::Run(run) if run.go != RunAction::Leave));
    for (kind, what) in missing(desired, observed, starts.map(|(id, _)| *id)) {
        steps.add(Phase::Stage, Action::Prepare { kind, what }, Vec::new());
    }
    models(desired, observed, past, remedy, Phase::Stage, steps);
}

/// Returns the current content of a model that a rollback needs, if the content changes.
fn content_to_keep(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    resource: &Resource,
    model: &ServedModel,
) -> bool {
    let Some(Presence::Present(Live::Model { sha256: Some(content), .. })) = observed.resources.get(&resource.id)
    else {
        return false;
    };
    model.sha256.as_ref() != Some(content) && past.keep.contains(&model.kept(&desired.stack, content).0)
}

/// Adds the steps of models: in the stage phase if their server keeps running unchanged, otherwise once it is up
/// again.
fn models(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    remedy: &[(&ResourceId, &Remedy)],
    phase: Phase,
    steps: &mut Steps<'_>,
) {
    let remedy: BTreeMap<&ResourceId, &Remedy> = remedy.iter().copied().collect();
    let mut pulls: BTreeMap<(&str, &OllamaName), StepId> = BTreeMap::new();
    let starts = |id: &ResourceId| matches!(remedy.get(id), Some(Remedy::Run(run)) if run.go != RunAction::Leave);
    for resource in desired.resources.values() {
        let Spec::Model(model) = &resource.spec else { continue };
        let restarts = resource.needs.iter().any(starts);
        if restarts != (phase == Phase::Switch) {
            continue;
        }
        let after = steps.needed(resource, phase);
        let pulled = (remedy.get(&resource.id) == Some(&&Remedy::Make)).then(|| {
            // A server that is pulling a name does not have it yet: further users wait for the same pull.
            let name = (model.endpoint.as_str(), &model.source);
            let mut after: Vec<StepId> = after.iter().chain(pulls.get(&name)).copied().collect();
            if !pulls.contains_key(&name) && content_to_keep(desired, observed, past, resource, model) {
                after = vec![steps.add(phase, Action::KeepContent(resource.id.clone()), after)];
            }
            let step = steps.add(phase, Action::PullModel(resource.id.clone()), after);
            pulls.insert(name, step);
            step
        });
        let loads = restarts || pulled.is_some() || remedy.get(&resource.id) == Some(&&Remedy::Load);
        if model.pinned && loads {
            let after = pulled.map_or(after, |step| vec![step]);
            steps.add(phase, Action::LoadModel(resource.id.clone()), after);
        }
    }
}

fn switch(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    remedy: &[(&ResourceId, &Remedy)],
    handoff: &StopOrder,
    replacements: &BTreeMap<&ResourceId, Replacement>,
    steps: &mut Steps<'_>,
) {
    let runs: BTreeMap<&ResourceId, &RunRemedy> = remedy
        .iter()
        .filter_map(|(id, remedy)| if let Remedy::Run(remedy) = remedy { Some((*id, remedy)) } else { None })
        .collect();
    let socket_handoff =
        |id: &ResourceId| desired.resources.get(id).and_then(Resource::run).is_some_and(|run| run.socket_handoff);
    // What hands its socket off has a unit for each of its instances, written when it starts.
    let is_plain = |id: &ResourceId| loads_definitions(id) && !socket_handoff(id);
    // Clients reach new routes only when the servers behind them are verified; until then the previous gateway serves.
    let last = behind_the_rest(desired, handoff, &runs);
    let serves_on = |managed: &&Managed| {
        let id = managed.id();
        let waiting = handoff.waits.iter().filter(|(_, waits)| waits.contains(id)).map(|(id, _)| id);
        let mut takers = waiting.chain(Some(id).filter(|id| runs.contains_key(id))).peekable();
        let unwritten = !(is_plain(id) && runs.get(id).is_some_and(|remedy| remedy.write));
        takers.peek().is_some() && takers.all(|id| last.contains(id)) && unwritten
    };
    let (last_stops, first_stops): (Vec<&Managed>, Vec<&Managed>) = remedy
        .iter()
        .filter_map(|(_, remedy)| match remedy {
            Remedy::Remove { managed, up: true } | Remedy::Run(RunRemedy { go: RunAction::Restart(managed), .. }) => {
                Some(managed)
            }
            _ => None,
        })
        .filter(|managed| {
            handoff.stop.contains(managed.id())
                || desired
                    .resources
                    .get(managed.id())
                    .is_some_and(|resource| !restarts_in_one(desired, observed, resource))
        })
        .partition(serves_on);
    // A sleeping server has already released its memory.
    let asleep = |managed: &&Managed| observed.run(managed.id()).is_some_and(|live| live.asleep);
    let first_stops: Vec<&Managed> =
        first_stops.into_iter().filter(|managed| !(handoff.sleep.contains(managed.id()) && asleep(managed))).collect();
    let ends = Ends { desired, observed, past, phase: Phase::Switch, sleep: &handoff.sleep };
    let mut stopped = ends.stop(&first_stops, &[], steps);
    stopped.extend(ends.dismantle_stopped(&runs, steps));

    for (id, _) in remedy.iter().filter(|(_, remedy)| **remedy == Remedy::Write) {
        let step = steps.add(Phase::Switch, Action::WriteFile((*id).clone()), Vec::new());
        steps.ready.insert((*id).clone(), step);
    }
    let units: Vec<(&ResourceId, &RunRemedy)> =
        runs.iter().filter(|(id, _)| is_plain(id)).map(|(id, remedy)| (*id, *remedy)).collect();
    let mut written: BTreeMap<Kind, Vec<StepId>> = BTreeMap::new();
    let stays = |remedy: &RunRemedy| matches!(remedy.go, RunAction::Leave | RunAction::Await);
    for (id, _) in runs.iter().filter(|(id, remedy)| socket_handoff(id) && remedy.reload && stays(remedy)) {
        written.entry(id.kind).or_default();
    }
    for (id, remedy) in &units {
        if remedy.write {
            // What it was made of before may stand where its file belongs, and goes with the stop.
            let own_stop = stopped.get(*id).copied().into_iter().collect();
            let step = steps.add(Phase::Switch, Action::Define((*id).clone()), own_stop);
            written.entry(id.kind).or_default().push(step);
        } else if remedy.reload {
            written.entry(id.kind).or_default();
        }
    }
    let reloaded: BTreeMap<Kind, StepId> = written
        .into_iter()
        .map(|(kind, written)| (kind, steps.add(Phase::Switch, Action::ReloadManager(kind), written)))
        .collect();

    let first_on_gpu = first_on_gpu(desired, past, &runs);
    let order = by_need(desired, &first_on_gpu, runs.keys().copied());
    let (last, first): (Vec<&ResourceId>, Vec<&ResourceId>) = order.into_iter().partition(|id| last.contains(id));
    let bring = |id: &ResourceId,
                 stopped: &BTreeMap<ResourceId, StepId>,
                 verified: &[StepId],
                 steps: &mut Steps<'_>| {
        let (Some(remedy), Some(resource)) = (runs.get(id), desired.resources.get(id)) else { return };
        let reload: Vec<StepId> = reloaded.get(&id.kind).copied().filter(|_| is_plain(id)).into_iter().collect();
        let keeps_name = stays(remedy) || matches!(remedy.go, RunAction::HandOff(_));
        if remedy.enable && (is_plain(id) || (socket_handoff(id) && keeps_name)) {
            steps.add(Phase::Switch, Action::Enable(id.clone()), reload.clone());
        }
        let mut after = steps.needed(resource, Phase::Switch);
        after.extend(reload);
        after.extend(handoff.waits.get(id).into_iter().flatten().filter_map(|id| stopped.get(id).copied()));
        after.extend(first_on_gpu.get(id).into_iter().flatten().filter_map(|id| steps.ready.get(*id).copied()));
        let own_stop = stopped.get(id).copied();
        after.extend(own_stop);
        let managed = managed(desired, observed, id);
        let parts = observed.instances.get(id).cloned().unwrap_or_default();
        // An orphan may hold what the next instance needs, and answer clients in place of the current one.
        if let Some(managed) = managed.as_ref().filter(|_| own_stop.is_none()) {
            after.extend(steps.chain(Phase::Switch, parts::clear_orphans(managed, &parts), &[]));
        }
        let action = match (&remedy.go, own_stop) {
            (RunAction::Leave, _) => return,
            (RunAction::Await, _) => {
                let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(id.clone()), after);
                steps.ready.insert(id.clone(), healthy);
                return;
            }
            (RunAction::Start | RunAction::Restart(_), _) if replacements.contains_key(id) => {
                for action in &replacements[id].before {
                    after = vec![steps.add(Phase::Switch, action.clone(), after)];
                }
                Action::Start(id.clone())
            }
            (RunAction::HandOff(managed), _) => {
                after = steps.chain(Phase::Switch, parts::rehearse(id, &parts), &after).into_iter().collect();
                after.extend(verified);
                let started = steps.chain(Phase::Switch, parts::hand_over(managed, &parts), &after);
                let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(id.clone()), started.into_iter().collect());
                steps.ready.insert(id.clone(), healthy);
                return;
            }
            (RunAction::Start | RunAction::Restart(_), _) if socket_handoff(id) => {
                after.extend(verified);
                let mut live = parts;
                live.listens &= own_stop.is_none();
                if own_stop.is_none() || ends.is_plain(id) {
                    live.others.clear();
                }
                let calls = parts::start(id, &live, managed.as_ref(), remedy.write || own_stop.is_some());
                let started = steps.chain(Phase::Switch, calls, &after);
                let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(id.clone()), started.into_iter().collect());
                steps.ready.insert(id.clone(), healthy);
                return;
            }
            (RunAction::Restart(managed), None) => Action::Restart(managed.clone()),
            (RunAction::Wake(managed), None) => Action::Wake(managed.clone()),
            _ => Action::Start(id.clone()),
        };
        after.extend(verified);
        let started = steps.add(Phase::Switch, action, after);
        let healthy = steps.add(Phase::Switch, Action::AwaitHealthy(id.clone()), vec![started]);
        steps.ready.insert(id.clone(), healthy);
        // The instances of one that no longer hands its socket off stay until it has a definition of its own.
        if let Some(managed) = managed.filter(|_| own_stop.is_some() && !ends.is_plain(id)) {
            let mut calls = parts::remove_strays(&managed, &parts);
            calls.extend((!calls.is_empty()).then_some(Action::ReloadManager(id.kind)));
            steps.chain(Phase::Switch, calls, &[healthy]);
        }
    };
    for id in first {
        bring(id, &stopped, &[], steps);
    }
    models(desired, observed, past, remedy, Phase::Switch, steps);
    let proves = |step: &&Step| {
        let proof = matches!(step.action, Action::AwaitHealthy(_) | Action::PullModel(_) | Action::LoadModel(_));
        proof && step.phase == Phase::Switch
    };
    let verified: Vec<StepId> = steps.list.iter().filter(proves).map(|step| step.id).collect();
    stopped.extend(ends.stop(&last_stops, &verified, steps));
    for id in last {
        bring(id, &stopped, &verified, steps);
    }
}

/// Returns a gateway that replaces a running one, and everything that depends on it.
fn behind_the_rest<'a>(
    desired: &'a Desired,
    handoff: &StopOrder,
    runs: &BTreeMap<&'a ResourceId, &RunRemedy>,
) -> BTreeSet<&'a ResourceId> {
    let changes = |id: &ResourceId| match runs.get(id).map(|remedy| &remedy.go) {
        Some(RunAction::HandOff(_) | RunAction::Restart(_)) => true,
        Some(RunAction::Start) => handoff.waits.contains_key(id),
        Some(RunAction::Wake(_) | RunAction::Await | RunAction::Leave) | None => false,
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

/// Returns whether a server is restarted in one call. One that comes to hand its socket off, or no longer does, is made
/// of other parts.
fn restarts_in_one(desired: &Desired, observed: &Observation, resource: &Resource) -> bool {
    let live = observed.run(&resource.id).is_some_and(|live| live.socket_handoff);
    let declared = desired.resources.get(&resource.id).and_then(Resource::run).is_some_and(|run| run.socket_handoff);
    targets::of_kind(resource.id.kind).is_some_and(targets::Target::restarts_in_one_call) && !live && !declared
}

/// Returns whether the definitions of a server's kind are loaded by a manager.
fn loads_definitions(id: &ResourceId) -> bool {
    targets::of_kind(id.kind).is_some_and(targets::Target::loads_definitions)
}

fn prune(
    ends: &Ends<'_>,
    remedy: &[(&ResourceId, &Remedy)],
    handoff: &StopOrder,
    replacements: &BTreeMap<&ResourceId, Replacement>,
    steps: &mut Steps<'_>,
) {
    let mut gone: Vec<(&Managed, bool)> = remedy
        .iter()
        .filter_map(|(_, remedy)| if let Remedy::Remove { managed, up } = remedy { Some((managed, *up)) } else { None })
        .collect();
    let still_up = |id: &ResourceId| !handoff.stop.contains(id) || handoff.sleep.contains(id);
    let up: Vec<&Managed> =
        gone.iter().filter(|(managed, up)| *up && still_up(managed.id())).map(|(managed, _)| *managed).collect();
    // A server must be asked to remove its models while it is up, and for one after another: while it removes unused
    // layers, it does not know the layers that other models share.
    let mut emptied: Vec<StepId> = Vec::new();
    for (managed, _) in gone.iter().filter(|(managed, _)| managed.id().kind == Kind::Model) {
        let before = emptied.last().copied().into_iter().collect();
        emptied.push(steps.add(Phase::Prune, Action::RemoveModel((*managed).clone()), before));
    }
    let stopped = ends.stop(&up, &emptied, steps);
    // A file, an environment or a model may be in use by any of the servers that stop.
    let quiet: Vec<StepId> = stopped.values().copied().collect();
    let mut unloaded: BTreeMap<Kind, Vec<StepId>> = BTreeMap::new();
    let aside = replacements.values().filter_map(|replacement| replacement.after.clone());
    let mut servers: Vec<StepId> = aside.map(|action| steps.add(Phase::Prune, action, Vec::new())).collect();
    // An image can go when nothing is made of it any more.
    gone.sort_by_key(|(managed, _)| managed.id().kind == Kind::Image);
    for (managed, up) in gone {
        let own: Vec<StepId> = stopped.get(managed.id()).copied().into_iter().collect();
        if let Some(live) = parts_of(ends.observed, managed.id()) {
            let calls = ends.removal(managed, live, up);
            let removed = steps.chain(Phase::Prune, calls, &own);
            unloaded.entry(managed.id().kind).or_default().extend(removed);
            servers.extend(removed);
            continue;
        }
        let (action, after) = match managed.id().kind {
            kind if kind.runs() => (Action::RemoveServer(managed.clone()), own),
            Kind::Image => (Action::RemoveImage(managed.clone()), servers.clone()),
            Kind::File => (Action::RemoveFile(managed.clone()), quiet.clone()),
            Kind::Environment => (Action::RemoveEnvironment(managed.clone()), quiet.clone()),
            Kind::Artifact => (Action::RemoveArtifact(managed.clone()), quiet.clone()),
            _ => continue,
        };
        let step = steps.add(Phase::Prune, action, after);
        if loads_definitions(managed.id()) {
            unloaded.entry(managed.id().kind).or_default().push(step);
        }
        servers.extend(managed.id().kind.runs().then_some(step));
    }
    for (kind, unloaded) in unloaded {
        steps.add(Phase::Prune, Action::ReloadManager(kind), unloaded);
    }
}

/// Returns for each server that starts the ones that start before it on its GPU: one after another, because each
/// measures the free memory while it starts. Servers that claim a share of the GPU go first; among equals, those that
/// were on the GPU before.
fn first_on_gpu<'a>(
    desired: &'a Desired,
    past: &Past,
    runs: &BTreeMap<&'a ResourceId, &RunRemedy>,
) -> BTreeMap<&'a ResourceId, Vec<&'a ResourceId>> {
    let starting = runs.iter().filter(|(_, remedy)| remedy.go != RunAction::Leave).filter_map(|(id, _)| {
        let run = desired.resources.get(*id)?.run()?;
        let place = (run.gpu_claim.is_none(), !past.gpus.contains_key(*id));
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

/// Sorts servers after their dependencies, and after those that start first on their GPU.
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

/// Sorts topologically, ties by name; members of a cycle keep their order by name.
pub(super) fn sorted<'a>(
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
