//! A declared server against what was found of it.

use super::super::Past;
use super::super::change::{Cause, Consequence, Disruption, Verb};
use super::{Difference, Go, RunWork, Verdict, Work, absent, asked_otherwise, change, not_ours, settle};
use crate::desired::Desired;
use crate::observed::{Found, FoundRun, Ours, Phase, Seen};
use crate::resource::{Bytes, Resource, Run, Runtime};

pub(super) fn run(desired: &Desired, past: &Past, resource: &Resource, spec: &Run, found: Option<&Found>) -> Verdict {
    let Some(Found::Run(found)) = found else {
        let work = RunWork { write: true, reload: true, enable: true, former: None, go: Go::Start };
        let verb = Verb::Create;
        return differs(desired, past, resource, spec, verb, vec![absent(past, resource)], work);
    };
    let Some(claim) = found.definition.as_ref().filter(|claim| claim.stack == desired.stack) else {
        let owner = found.definition.as_ref().map(|claim| claim.stack.as_str());
        return Verdict::Refused(not_ours(resource, &place(resource, spec), owner));
    };
    // The claim was just seen to be this stack's, so the proof is there.
    let seen = Seen::Present(Found::Run(found.clone()));
    let Some(ours) = Ours::prove(&desired.stack, &resource.id, &seen) else { return Verdict::Same };

    let wanted = resource.fingerprint();
    let mut causes = Vec::new();
    let mut verb = Verb::Correct;
    if claim.fingerprint != wanted {
        (verb, causes) = asked_otherwise(past, resource, claim);
    } else if !claim.intact {
        causes.push(Cause::Drift("its definition was edited by hand".to_owned()));
    }
    let write = !causes.is_empty();
    // A container cannot be changed: another takes its place, and it stays until that one has proved itself.
    let former = (write && spec.runtime == Runtime::Docker).then(|| ours.clone());
    let go = if found.is_up() {
        let older = match &found.running {
            Some(running) => *running != wanted,
            None => found.phase == Phase::Running,
        };
        // What runs otherwise than it should may hold a port or memory that another was promised: it is never left.
        if older && causes.iter().all(|cause| matches!(cause, Cause::Drift(_))) {
            let older = "it still runs as it was before its definition changed".to_owned();
            causes.push(Cause::Unfinished(older));
        }
        let alone = spec.runtime == Runtime::Process && !found.enabled;
        if alone {
            causes.push(Cause::Drift("its supervisor is gone, so nobody would start it again".to_owned()));
        }
        // Of the good generation: what a failed one asked for says nothing of where the socket listens.
        let fields = resource.fields();
        let committed = past.committed.get(&resource.id).and_then(|fields| fields.get("port"));
        let same_port = committed.is_some() && committed == fields.get("port");
        match older || write || alone {
            // The socket stays, and with it the port.
            true if spec.hands_on && found.hands_on && same_port => Go::HandOver(ours),
            true => Go::Restart(ours),
            false if found.asleep => {
                causes.push(Cause::Drift("it sleeps".to_owned()));
                Go::Wake(ours)
            }
            false => Go::Leave,
        }
    } else {
        causes.push(down(past, resource, found));
        Go::Start
    };
    let strays = (go == Go::Leave && found.strays).then(|| ours_of(desired, resource, &seen)).flatten();
    if strays.is_some() {
        causes.push(Cause::Unfinished("a successor that never took its place was left behind".to_owned()));
    }
    let reload = write || !found.loaded;
    if !found.loaded && !write {
        causes.push(Cause::Drift("the systemd manager has not read its unit file".to_owned()));
    }
    let mut enable = spec.runtime == Runtime::Systemd && !found.enabled;
    if enable {
        causes.push(Cause::Drift("it does not start with the machine".to_owned()));
    }
    // The link that has it start with the machine goes with the parts that it was made of.
    enable |= found.hands_on && !spec.hands_on;
    if causes.is_empty() {
        return Verdict::Same;
    }
    differs(
        desired,
        past,
        resource,
        spec,
        verb,
        causes,
        RunWork { write, reload, enable, former: former.or(strays), go },
    )
}

fn ours_of(desired: &Desired, resource: &Resource, seen: &Seen) -> Option<Ours> {
    Ours::prove(&desired.stack, &resource.id, seen)
}

fn place(resource: &Resource, spec: &Run) -> String {
    match spec.runtime {
        Runtime::Systemd => format!("the unit {}.service", resource.id.name),
        Runtime::Process => format!("the process {}", resource.id.name),
        Runtime::Docker => format!("the container {}", resource.id.name),
    }
}

/// Why a server is down: something happened to it, or the apply that made it so stopped before it started.
fn down(past: &Past, resource: &Resource, found: &FoundRun) -> Cause {
    let what = if found.phase == Phase::Failed { "it failed" } else { "it does not run" };
    let committed = past.committed.get(&resource.id).is_some_and(|fields| *fields == resource.fields());
    let cause = if committed { Cause::Drift } else { Cause::Unfinished };
    cause(found.why.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what}: {why}")))
}

fn differs(
    desired: &Desired,
    past: &Past,
    resource: &Resource,
    spec: &Run,
    verb: Verb,
    causes: Vec<Cause>,
    work: RunWork,
) -> Verdict {
    let disruption = match work.go {
        Go::Leave => Disruption::None,
        Go::Start | Go::Wake(_) => Disruption::Start,
        Go::HandOver(_) => Disruption::HandOver,
        Go::Restart(_) => Disruption::Restart,
    };
    let expected = past.start_times.get(&resource.id).copied().filter(|_| disruption != Disruption::None);
    let before = past.memory.get(&resource.id).copied().map(Bytes).unwrap_or_default();
    let after = spec.memory.unwrap_or_default();
    let memory = (before != after).then_some((before, after));
    let consequence = Consequence { expected, memory, ..Consequence::of(disruption) };
    let change = change(resource, verb, causes, consequence);
    settle(desired, Difference { change, work: Some(Work::Run(work)) })
}
