//! Comparison of a declared server with its observation.

use super::case::Case;
use super::difference::{Difference, Remedy, RunAction, RunRemedy};
use super::effective::{Deviations, deviations};
use super::verdicts::{Verdict, absent, asked_otherwise, change, not_managed, reported, sync};
use crate::live::{Live, LiveRun, Managed, Ownership, Presence, RunState};
use crate::plan::aside::left_aside;
use crate::plan::cause::Cause;
use crate::plan::change::{Consequence, Disruption, Verb};
use crate::plan::past::Past;
use crate::resource::{Bytes, Health, Resource, ResourceId, Run};
use crate::targets;

pub(super) fn run(case: Case<'_>, spec: &Run, live: Option<&Live>) -> Verdict {
    let Case { desired, observed, past, resource } = case;
    let Some(Live::Run(live)) = live else {
        let remedy = RunRemedy { write: true, reload: true, enable: true, go: RunAction::Start };
        // What stands aside says that an apply was interrupted: that is no drift.
        let cause = match left_aside(desired, observed, resource) {
            Some(_) => Cause::Unfinished("its replacement was not finished".to_owned()),
            None => absent(past, resource),
        };
        return differs(case, spec, Verb::Create, vec![cause], remedy);
    };
    let Some(claim) = live.definition.as_ref().filter(|claim| claim.stack == desired.stack) else {
        let owner = live.definition.as_ref().map(|claim| claim.stack.as_str());
        return Verdict::Refused(not_managed(resource, &place(resource), owner));
    };
    // The ownership marker was just checked, so the proof exists.
    let presence = Presence::Present(Live::Run(live.clone()));
    let Some(managed) = Managed::prove(&desired.stack, &resource.id, &presence) else { return Verdict::Same };
    Pair { case, spec, live }.verdict(claim, &managed)
}

/// A declared server and the live one that is managed in its place.
#[derive(Clone, Copy)]
struct Pair<'a> {
    case: Case<'a>,
    spec: &'a Run,
    live: &'a LiveRun,
}

impl Pair<'_> {
    fn verdict(self, claim: &Ownership, managed: &Managed) -> Verdict {
        let Self { case: case @ Case { desired, observed, past, resource }, spec, live } = self;
        let target = targets::of_kind(resource.id.kind);
        let (verb, mut causes) = self.definition(claim);
        let differs_by_definition = !causes.is_empty();
        // A server that cannot be changed gets its limits again when another takes its place.
        let Deviations { correctable, reported: only_reported } =
            deviations(resource, spec, live, !differs_by_definition && live.loaded);
        let write = differs_by_definition || !correctable.is_empty();
        causes.extend(correctable);
        let go = if live.is_up() {
            self.action_while_up(managed, write, &mut causes)
        } else {
            causes.push(down(past, resource, live));
            RunAction::Start
        };
        if observed.instances.get(&resource.id).is_some_and(|parts| !parts.others.is_empty()) {
            causes.push(Cause::Unfinished("an interrupted hand-off left an orphaned instance".to_owned()));
        }
        if causes.is_empty() && left_aside(desired, observed, resource).is_some() {
            causes.push(Cause::Unfinished("the one whose place it took was left behind".to_owned()));
        }
        let reload = write || !live.loaded;
        if !live.loaded && !write {
            causes.push(Cause::Drift("its manager has not loaded its definition".to_owned()));
        }
        let mut enable = target.is_some_and(targets::Target::enables) && !live.enabled;
        if enable {
            causes.push(Cause::Drift("it does not start at boot".to_owned()));
        }
        // Enabling links are removed together with the socket hand-off units.
        enable |= live.socket_handoff && !spec.socket_handoff;
        match (causes.is_empty(), only_reported.is_empty()) {
            (true, true) => return Verdict::Same,
            (true, false) => return reported(resource, only_reported),
            (false, _) => causes.extend(only_reported),
        }
        differs(case, spec, verb, causes, RunRemedy { write, reload, enable, go })
    }

    /// Returns the causes in the definition of the live server; none where it is the declared one.
    fn definition(self, claim: &Ownership) -> (Verb, Vec<Cause>) {
        let Case { past, resource, .. } = self.case;
        if claim.fingerprint != resource.fingerprint() {
            return asked_otherwise(past, resource, claim);
        }
        let edited = (!claim.intact).then(|| Cause::Drift("its definition was edited by hand".to_owned()));
        (Verb::Correct, edited.into_iter().collect())
    }

    /// Returns the action on the process of a server that is up, and adds the causes that lie in the process; `write`
    /// if its definition is written.
    fn action_while_up(self, managed: &Managed, write: bool, causes: &mut Vec<Cause>) -> RunAction {
        let Self { case: Case { resource, past, .. }, spec, live } = self;
        let older = match &live.running {
            Some(running) => *running != resource.fingerprint(),
            None => live.phase == RunState::Running,
        };
        // An outdated process may hold a port or memory promised to another server: it is always restarted.
        if older && causes.iter().all(|cause| matches!(cause, Cause::Drift(_))) {
            let older = "it still runs with an earlier definition".to_owned();
            causes.push(Cause::Unfinished(older));
        }
        let unattended = targets::of_kind(resource.id.kind).and_then(|target| target.unattended(live));
        causes.extend(unattended.map(|why| Cause::Drift(why.to_owned())));
        let socket_down = live.socket_down.as_ref().filter(|_| spec.socket_handoff);
        causes.extend(socket_down.map(|why| Cause::Drift(format!("its socket does not listen: {why}"))));
        let again = unattended.is_some() || socket_down.is_some();
        match older || write || again {
            // The socket stays, and with it the port.
            true if self.keeps_socket() => RunAction::HandOff(managed.clone()),
            true => RunAction::Restart(managed.clone()),
            false if live.asleep => {
                causes.push(Cause::Drift("it sleeps".to_owned()));
                RunAction::Wake(managed.clone())
            }
            // What was never committed may crash for want of what this plan gives it, such as a GPU; what was may crash
            // because of what is taken back or removed.
            false if crashes(live) && (past.back || !is_committed(past, resource) || self.gets_room()) => {
                causes.push(down(past, resource, live));
                RunAction::Restart(managed.clone())
            }
            // An earlier apply may have asked for it and not have waited.
            false if live.phase == RunState::Starting => {
                causes.push(Cause::Unfinished("it is still starting".to_owned()));
                RunAction::Await
            }
            false if is_unhealthy(live) && !is_committed(past, resource) => {
                causes.push(Cause::Unfinished("it is not healthy yet".to_owned()));
                RunAction::Await
            }
            false => RunAction::Leave,
        }
    }

    /// Returns whether a server that is up and will be removed has a GPU or a port of this one.
    fn gets_room(self) -> bool {
        let Self { case: Case { desired, observed, past, .. }, spec, .. } = self;
        let goes =
            |id: &ResourceId| !desired.resources.contains_key(id) && observed.run(id).is_some_and(LiveRun::is_up);
        let gpu = |id: &ResourceId| past.gpus.get(id).is_some_and(|gpus| gpus.shares_one(&spec.gpus));
        let port =
            |id: &ResourceId| past.ports.get(id).is_some_and(|ports| ports.iter().any(|it| spec.ports.contains(it)));
        desired.policy.prune && observed.resources.keys().any(|id| goes(id) && (gpu(id) || port(id)))
    }

    /// Returns whether a successor gets the socket of the live server.
    fn keeps_socket(self) -> bool {
        let Self { case: Case { past, resource, .. }, spec, live } = self;
        // Of the good generation: what a failed one asked for says nothing of where the socket listens.
        let fields = resource.fields();
        let committed = past.committed.get(&resource.id).and_then(|fields| fields.get("port"));
        let same_port = committed.is_some() && committed == fields.get("port");
        spec.socket_handoff && live.socket_handoff && same_port && live.socket_down.is_none()
    }
}

fn place(resource: &Resource) -> String {
    targets::of_kind(resource.id.kind).map_or_else(|| resource.id.to_string(), |target| target.describe(&resource.id))
}

/// Returns whether the committed generation declares the server as it is declared now.
fn is_committed(past: &Past, resource: &Resource) -> bool {
    past.committed.get(&resource.id).is_some_and(|fields| *fields == resource.fields())
}

/// Returns whether a server was asked and is not healthy.
fn is_unhealthy(live: &LiveRun) -> bool {
    let asked = live.health.as_ref().filter(|health| !matches!(health, Health::NotAsked { .. }));
    asked.is_some_and(|health| !health.is_healthy())
}

/// Returns whether a server that is up dies again and again.
fn crashes(live: &LiveRun) -> bool {
    live.phase == RunState::BackingOff || (live.phase == RunState::Running && live.restarts > 0 && is_unhealthy(live))
}

/// Returns the cause for a server that is down: drift, or an interrupted apply.
fn down(past: &Past, resource: &Resource, live: &LiveRun) -> Cause {
    let what = match live.phase {
        RunState::Failed => "it failed",
        RunState::BackingOff => "it exited and waits to be restarted",
        RunState::Running => "it was restarted after it ended, and is not healthy",
        _ => "it does not run",
    };
    let cause = if is_committed(past, resource) { Cause::Drift } else { Cause::Unfinished };
    cause(live.why.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what}: {why}")))
}

fn differs(case: Case<'_>, spec: &Run, verb: Verb, causes: Vec<Cause>, remedy: RunRemedy) -> Verdict {
    let Case { desired, past, resource, .. } = case;
    let disruption = match remedy.go {
        RunAction::Leave | RunAction::Await => Disruption::None,
        RunAction::Start | RunAction::Wake(_) => Disruption::Start,
        RunAction::HandOff(_) => Disruption::HandOff,
        RunAction::Restart(_) => Disruption::Restart,
    };
    let expected = past.start_times.get(&resource.id).copied().filter(|_| disruption != Disruption::None);
    let before = past.memory.get(&resource.id).copied().map(Bytes).unwrap_or_default();
    let after = spec.memory.unwrap_or_default();
    let memory = (before != after).then_some((before, after));
    let consequence = Consequence { expected, memory, ..Consequence::of(disruption) };
    let change = change(resource, verb, causes, consequence);
    sync(desired, Difference { change, remedy: Some(Remedy::Run(remedy)) })
}
