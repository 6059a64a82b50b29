//! What differs: each resource against what was seen of it, as a decision table per kind.
//!
//! Says what must be done about one resource at a time. The order, and what one change means for another, are not its
//! business.

mod model;
mod run;

use super::Past;
use super::cause::{Cause, field_causes};
use super::change::{Change, Consequence, Disruption, Refusal, RefusalKind, Verb};
use crate::live::{Live, LiveFile, Managed, Observation, Ownership, Presence};
use crate::resolve::{Desired, Drift};
use crate::resource::{Artifact, ArtifactSource, Bytes, Digest, FileSpec, Kind, Resource, ResourceId, Spec};
use crate::targets;
use std::collections::BTreeSet;

/// What must be done about one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Make a secret, an environment or an artifact.
    Make,
    /// Compute an artifact's digest.
    Verify,
    /// Have a model loaded.
    Load,
    /// Write a file.
    Write,
    /// Bring a server to its wish.
    Run(RunRemedy),
    /// Clear it away; stop it first if it is up.
    Remove {
        /// The proof that it is ours.
        managed: Managed,
        /// Whether it runs.
        up: bool,
    },
}

/// What must be done about a server that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunRemedy {
    /// Write its definition.
    pub(super) write: bool,
    /// Have the runtime read its definition.
    pub(super) reload: bool,
    /// Have it start with the machine.
    pub(super) enable: bool,
    /// What has successors that never took its place.
    pub(super) orphans: Option<Managed>,
    /// What to do to its process.
    pub(super) go: RunAction,
}

/// What must be done to a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunAction {
    /// Nothing.
    Leave,
    /// Start it.
    Start,
    /// Have it serve again.
    Wake(Managed),
    /// Have a successor take its place.
    HandOff(Managed),
    /// Stop it and start it.
    Restart(Managed),
}

/// A resource that differs, and what must be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) change: Change,
    /// `None` when the change is only said.
    pub(super) remedy: Option<Remedy>,
}

/// Everything that differs.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) changes: Vec<Difference>,
    pub(super) unchanged: usize,
    pub(super) refusals: Vec<Refusal>,
}

/// Compares every declared resource, and everything of ours that is there, with the wish.
pub(super) fn compare(desired: &Desired, observed: &Observation, past: &Past) -> Comparison {
    let mut comparison = Comparison::default();
    for resource in desired.resources.values() {
        let presence = observed.resources.get(&resource.id);
        match one(desired, observed, past, resource, presence) {
            Verdict::Same => comparison.unchanged += 1,
            Verdict::Differs(difference) => comparison.changes.push(difference),
            Verdict::Refused(refusal) => comparison.refusals.push(refusal),
        }
    }
    // What stands aside for a declared server is part of that one's change.
    let aside: BTreeSet<ResourceId> = desired.resources.keys().filter_map(targets::previous).collect();
    let kept = |id: &ResourceId| past.keep.contains(id) && !past.oldest.contains(id);
    // With nothing else to do there will be no further generation.
    let stays = comparison.changes.iter().all(|difference| difference.remedy.is_none())
        && observed.resources.iter().filter(|(id, _)| !aside.contains(*id)).all(|(id, presence)| {
            let needed = desired.resources.contains_key(id) || past.keep.contains(id);
            needed || Managed::prove(&desired.stack, id, presence).is_none()
        });
    for (id, presence) in observed.resources.iter().filter(|(id, _)| !aside.contains(*id)) {
        let declared = desired.resources.contains_key(id) || kept(id) || (stays && past.keep.contains(id));
        // A model can be removed only by its server: it stays, and on record, until that answers again.
        let unserved = matches!(presence, Presence::Unknown(_) | Presence::Present(Live::Model { unserved: true, .. }));
        if !declared && id.kind == Kind::Model && unserved {
            continue;
        }
        if let (false, true, Presence::Unknown(why)) = (declared, desired.policy.prune, presence) {
            // What cannot be seen may still be there: it must not be taken for gone.
            comparison.refusals.push(blind(id, why));
            continue;
        }
        if let (false, Some(managed)) = (declared, Managed::prove(&desired.stack, id, presence)) {
            comparison.changes.push(undeclared(desired, presence, managed));
        }
    }
    comparison.changes.sort_by(|one, other| one.change.on.cmp(&other.change.on));
    comparison
}

enum Verdict {
    Same,
    Differs(Difference),
    Refused(Refusal),
}

fn one(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    resource: &Resource,
    presence: Option<&Presence>,
) -> Verdict {
    let presence = match presence {
        Some(Presence::Unknown(why)) => return unseen(resource, why),
        None => return unseen(resource, "it was not inspected"),
        Some(Presence::Absent) => None,
        Some(Presence::Present(live)) => Some(live),
    };
    match (&resource.spec, presence) {
        (Spec::Secret(_), None) => {
            made(desired, resource, vec![absent(past, resource)], Consequence::of(Disruption::None))
        }
        (Spec::Environment(_) | Spec::Image(_), None) => made(
            desired,
            resource,
            vec![absent(past, resource)],
            Consequence { download: Some(None), ..Consequence::of(Disruption::None) },
        ),
        (Spec::Environment(_), Some(Live::Environment { complete: false })) => made(
            desired,
            resource,
            vec![Cause::Unfinished("it was not installed completely".to_owned())],
            Consequence { download: Some(None), ..Consequence::of(Disruption::None) },
        ),
        (Spec::Artifact(spec), live) => artifact(desired, observed, past, resource, spec, live),
        (Spec::File(spec), live) => file(desired, past, resource, spec, live),
        (Spec::Model(spec), live) => model::model(desired, observed, past, resource, spec, live),
        (Spec::Run(spec), live) => run::run(desired, observed, past, resource, spec, live),
        (Spec::Secret(_) | Spec::Environment(_) | Spec::Image(_), Some(_)) => Verdict::Same,
    }
}

fn unseen(resource: &Resource, why: &str) -> Verdict {
    Verdict::Refused(blind(&resource.id, why))
}

fn blind(id: &ResourceId, why: &str) -> Refusal {
    let mut of_target = targets::TARGETS.into_iter().filter(|target| target.observes(id.kind));
    let hint = match of_target.find_map(|target| target.unseen_hint(why)) {
        Some(hint) => Some(hint),
        None if why.starts_with("the state file ") && why.contains(" is damaged: ") => {
            Some("`llamero doctor --repair` renames it and rediscovers the running servers by their ownership markers")
        }
        None => None,
    };
    let hint = hint.map(str::to_owned);
    Refusal { on: id.clone(), kind: RefusalKind::Unseen, message: format!("cannot see {id}: {why}"), hint }
}

/// Why something declared that is not there is to be made: it is new, or somebody took it away.
fn absent(past: &Past, resource: &Resource) -> Cause {
    if past.committed.contains_key(&resource.id) { Cause::Drift("it is gone".to_owned()) } else { Cause::Declared }
}

fn made(desired: &Desired, resource: &Resource, causes: Vec<Cause>, consequence: Consequence) -> Verdict {
    let change = change(resource, Verb::Create, causes, consequence);
    sync(desired, Difference { change, remedy: Some(Remedy::Make) })
}

fn change(resource: &Resource, verb: Verb, causes: Vec<Cause>, consequence: Consequence) -> Change {
    Change {
        on: resource.id.clone(),
        role: resource.role.clone(),
        verb,
        detail: detail(resource),
        causes,
        consequence,
        left: false,
    }
}

fn detail(resource: &Resource) -> Option<String> {
    match &resource.spec {
        Spec::Secret(secret) => Some(secret.path.display().to_string()),
        Spec::Environment(environment) => Some(environment.requirements.join(" ")),
        Spec::Artifact(artifact) => Some(artifact.origin.clone()),
        Spec::Model(model) => Some(model.source.shortest()),
        Spec::Image(image) => Some(image.name.to_string()),
        Spec::File(file) => Some(file.path.display().to_string()),
        Spec::Run(_) => None,
    }
}

fn artifact(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    resource: &Resource,
    spec: &Artifact,
    live: Option<&Live>,
) -> Verdict {
    let (known, managed) = match live {
        Some(Live::Artifact { sha256, managed, .. }) => (Some(sha256.as_ref()), *managed),
        _ => (None, false),
    };
    let theirs = spec.source == ArtifactSource::File;
    let refuse = |message: String, hint: &str| {
        let hint = Some(hint.to_owned());
        Verdict::Refused(Refusal { on: resource.id.clone(), kind: RefusalKind::Missing, message, hint })
    };
    match (known, &spec.sha256) {
        (None, _) if theirs => refuse(
            format!("{} does not exist", spec.path.display()),
            "correct `source` in the manifest, or put the file there",
        ),
        (None, _) => fetch(desired, observed, resource, vec![absent(past, resource)]),
        (Some(Some(is)), Some(expected)) if is != expected && theirs => refuse(
            format!("{} has the sha256 {is}, not {expected}", spec.path.display()),
            "correct `sha256` in the manifest, or the file",
        ),
        (Some(Some(is)), Some(expected)) if is != expected && !managed => {
            Verdict::Refused(not_managed(resource, &spec.path.display().to_string(), None))
        }
        (Some(Some(is)), Some(expected)) if is != expected => {
            let committed = past.committed.get(&resource.id);
            let mut causes = committed.map(|fields| field_causes(fields, &resource.fields())).unwrap_or_default();
            if causes.is_empty() {
                causes.push(Cause::Drift(format!("its sha256 is {}", short(is))));
            }
            fetch(desired, observed, resource, causes)
        }
        (Some(None), Some(_)) => Verdict::Differs(Difference {
            change: change(
                resource,
                Verb::Change,
                vec![Cause::Unfinished("its sha256 has not been computed yet".to_owned())],
                Consequence::of(Disruption::None),
            ),
            remedy: Some(Remedy::Verify),
        }),
        _ => Verdict::Same,
    }
}

fn short(digest: &Digest) -> String {
    format!("{}…", digest.short())
}

fn fetch(desired: &Desired, observed: &Observation, resource: &Resource, causes: Vec<Cause>) -> Verdict {
    let size = observed.download_sizes.get(&resource.id).copied().map(Bytes);
    // What a command does to make a file is its own affair.
    let made_here = matches!(&resource.spec, Spec::Artifact(Artifact { source: ArtifactSource::Command { .. }, .. }));
    let download = (!made_here).then_some(size);
    made(desired, resource, causes, Consequence { download, ..Consequence::of(Disruption::None) })
}

fn file(desired: &Desired, past: &Past, resource: &Resource, spec: &FileSpec, live: Option<&Live>) -> Verdict {
    let differs = |verb, causes| {
        let change = change(resource, verb, causes, Consequence::of(Disruption::None));
        sync(desired, Difference { change, remedy: Some(Remedy::Write) })
    };
    let Some(Live::File(LiveFile { marker, .. })) = live else {
        return differs(Verb::Create, vec![absent(past, resource)]);
    };
    let Some(claim) = marker.as_ref().filter(|claim| claim.stack == desired.stack) else {
        return Verdict::Refused(not_managed(
            resource,
            &spec.path.display().to_string(),
            marker.as_ref().map(|claim| claim.stack.as_str()),
        ));
    };
    if claim.fingerprint == resource.fingerprint() {
        if claim.intact {
            return Verdict::Same;
        }
        return differs(Verb::Correct, vec![Cause::Drift("it was edited by hand".to_owned())]);
    }
    let (verb, causes) = asked_otherwise(past, resource, claim);
    differs(verb, causes)
}

/// Returns the refusal for a thing in our place that is somebody else's.
fn not_managed(resource: &Resource, place: &str, owner: Option<&str>) -> Refusal {
    let message = match owner {
        Some(stack) => format!("{place} belongs to the stack `{stack}`"),
        None => format!("{place} is there already and was not made by llamero"),
    };
    let hint = Some("move it away, or give this one another name or place in the manifest".to_owned());
    Refusal { on: resource.id.clone(), kind: RefusalKind::NotOurs, message, hint }
}

/// Tells why a thing that is there carries another fingerprint than the one asked for.
fn asked_otherwise(past: &Past, resource: &Resource, claim: &Ownership) -> (Verb, Vec<Cause>) {
    let Some(committed) = past.committed.get(&resource.id) else {
        return (Verb::Change, vec![Cause::Unrecorded]);
    };
    let causes = field_causes(committed, &resource.fields());
    if causes.is_empty() {
        let left = "it drifted from the last committed generation".to_owned();
        // Only llamero writes a marker that fits: an apply of something else was not finished.
        let cause = if claim.intact { Cause::Unfinished(left) } else { Cause::Drift(left) };
        return (Verb::Correct, vec![cause]);
    }
    (Verb::Change, causes)
}

/// Applies the policy on drift: what is only to be warned of keeps its change and loses its work.
fn sync(desired: &Desired, mut difference: Difference) -> Verdict {
    let only_drift = difference.change.causes.iter().all(|cause| matches!(cause, Cause::Drift(_)));
    if only_drift {
        difference.change.verb = Verb::Correct;
        if desired.policy.drift == Drift::Warn {
            difference.change.left = true;
            difference.remedy = None;
        }
    }
    Verdict::Differs(difference)
}

fn undeclared(desired: &Desired, presence: &Presence, managed: Managed) -> Difference {
    let up = matches!(presence, Presence::Present(Live::Run(run)) if run.is_up());
    let disruption = if up { Disruption::Stop } else { Disruption::None };
    let loaded = matches!(presence, Presence::Present(Live::Model { loaded: true, .. }));
    let change = Change {
        on: managed.id().clone(),
        role: role_of(managed.id()),
        detail: loaded.then(|| "it is loaded now, and is unloaded".to_owned()),
        verb: Verb::Remove,
        causes: vec![Cause::Undeclared],
        consequence: Consequence::of(disruption),
        left: !desired.policy.prune,
    };
    let remedy = desired.policy.prune.then_some(Remedy::Remove { managed, up });
    Difference { change, remedy }
}

fn role_of(id: &ResourceId) -> String {
    id.name.clone()
}
