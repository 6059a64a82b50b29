//! Socket hand-off as steps: the order of the calls that start a server which hands its socket off, replace it, clear
//! orphans and remove all of it.

use crate::live::{InstanceState, Instances, Managed};
use crate::plan::part::{Instance, ManagedInstance, PartCall};
use crate::plan::step::Action;
use crate::resource::{ResourceId, Seconds};

/// The time for an instance that serves no client to end.
const GRACE: Seconds = Seconds::new(10);

/// The time for an instance to end beyond the time for its requests.
const MARGIN: Seconds = Seconds::new(90);

/// Returns the calls that start a server where none of it runs, one after another. An instance that is defined as
/// declared is started as it is; `defines` says that there is none.
pub(super) fn start(server: &ResourceId, live: &Instances, managed: Option<&Managed>, defines: bool) -> Vec<Action> {
    let kept = live.current.filter(|_| !defines);
    let instance = Instance { server: server.clone(), number: kept.unwrap_or(live.next) };
    let server = server.clone();
    let mut calls = Vec::new();
    if kept.is_none() {
        // The port may have changed.
        calls.extend(managed.filter(|_| live.listens).map(|it| PartCall::StopSocket { server: it.clone() }));
        calls.extend([PartCall::Define(instance.clone()), PartCall::MakeCurrent(instance.clone())]);
    }
    calls.push(PartCall::DefineSocket { server: server.clone() });
    let mut actions: Vec<Action> = calls.drain(..).map(Action::Part).collect();
    // A socket cannot listen while the service of its name is missing.
    actions.extend([Action::ReloadManager(server.kind), Action::Enable(server.clone())]);
    calls.extend([PartCall::EnableSocket { server: server.clone() }, PartCall::StartSocket { server }]);
    calls.push(PartCall::Start(instance));
    actions.extend(calls.into_iter().map(Action::Part));
    if let (None, Some(managed)) = (kept, managed) {
        let previous = remove_strays(managed, live);
        if !previous.is_empty() {
            actions.extend(previous);
            actions.push(Action::ReloadManager(managed.id().kind));
        }
    }
    actions
}

/// Returns the calls that start the successor of a server out of clients' reach and verify it.
///
/// It starts with less weight than the server that serves meanwhile: to load it takes all that a processor gives.
pub(super) fn rehearse(server: &ResourceId, live: &Instances) -> Vec<Action> {
    let instance = Instance { server: server.clone(), number: live.next };
    vec![
        Action::Part(PartCall::CloseGate(instance.clone())),
        Action::Part(PartCall::Define(instance.clone())),
        Action::ReloadManager(server.kind),
        Action::Part(PartCall::LowerWeight(instance.clone())),
        Action::Part(PartCall::Start(instance.clone())),
        Action::Part(PartCall::Rehearse(instance)),
    ]
}

/// Returns the calls by which clients reach the successor of a server, and the server ends.
pub(super) fn hand_over(server: &Managed, live: &Instances) -> Vec<Action> {
    let instance = Instance { server: server.id().clone(), number: live.next };
    let reload = Action::ReloadManager(server.id().kind);
    let mut actions = vec![
        Action::Part(PartCall::RaiseWeight(instance.clone())),
        Action::Part(PartCall::OpenGate(instance.clone())),
        Action::Part(PartCall::MakeCurrent(instance)),
        reload.clone(),
    ];
    if let Some(number) = live.current {
        let previous = ManagedInstance { server: server.clone(), number };
        actions.extend([
            Action::Part(PartCall::Drain(previous.clone())),
            Action::Part(PartCall::Remove(previous)),
            reload,
        ]);
    }
    actions
}

/// Returns the calls that remove the instances that an interrupted hand-off left beside the current one.
pub(super) fn clear_orphans(server: &Managed, live: &Instances) -> Vec<Action> {
    let mut actions: Vec<Action> = live
        .others
        .iter()
        .flat_map(|(number, state)| {
            let instance = ManagedInstance { server: server.clone(), number: *number };
            let end = match state {
                InstanceState::Serving => PartCall::Drain(instance.clone()),
                InstanceState::Defined | InstanceState::Started => {
                    PartCall::End { instance: instance.clone(), within: GRACE }
                }
            };
            [Action::Part(end), Action::Part(PartCall::Remove(instance))]
        })
        .collect();
    if !actions.is_empty() {
        actions.push(Action::ReloadManager(server.id().kind));
    }
    actions
}

/// Returns the calls that remove the instances beside a server that does not hand its socket off yet, or does not any
/// more.
pub(super) fn remove_strays(server: &Managed, live: &Instances) -> Vec<Action> {
    let end = |instance: ManagedInstance| {
        let ended = PartCall::End { instance: instance.clone(), within: GRACE };
        [Action::Part(ended), Action::Part(PartCall::Remove(instance))]
    };
    instances(server, live).flat_map(end).collect()
}

/// Returns the calls that end a server with all its instances. The socket stops first: the next connection would start
/// the server again.
pub(super) fn stop(server: &Managed, live: &Instances, timeout: Seconds) -> Vec<Action> {
    let within = Seconds { milliseconds: timeout.milliseconds.saturating_add(MARGIN.milliseconds) };
    let end = |instance| Action::Part(PartCall::End { instance, within });
    let socket = Action::Part(PartCall::StopSocket { server: server.clone() });
    [socket].into_iter().chain(instances(server, live).map(end)).collect()
}

/// Returns the calls that free the name of a server that does not run, for a definition of its own under it.
pub(super) fn free_name(server: &Managed) -> Vec<Action> {
    let name = Action::Part(PartCall::RemoveName { server: server.clone() });
    vec![name, Action::Part(PartCall::RemoveSocket { server: server.clone() })]
}

/// Returns the calls that remove the parts of a server that does not run. The instances go last: their ownership
/// markers show what the rest belongs to.
pub(super) fn remove(server: &Managed, live: &Instances) -> Vec<Action> {
    let instances = instances(server, live).map(|instance| Action::Part(PartCall::Remove(instance)));
    free_name(server).into_iter().chain(instances).collect()
}

fn instances<'a>(server: &'a Managed, live: &'a Instances) -> impl Iterator<Item = ManagedInstance> + 'a {
    let numbers = live.current.into_iter().chain(live.others.keys().copied());
    numbers.map(|number| ManagedInstance { server: server.clone(), number })
}
