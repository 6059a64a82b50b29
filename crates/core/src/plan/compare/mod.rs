//! Comparison of each declared resource with its observation, as a decision table per kind.
//!
//! It decides about one resource at a time. The order of steps and interactions between changes are decided
//! elsewhere.

mod case;
mod effective;
mod model;
mod run;

use super::cause::{Cause, field_causes};
use super::change::{Change, Consequence, Disruption, Refusal, RefusalKind, Verb};
use super::past::Past;
use crate::live::{Live, LiveFile, Managed, Observation, Ownership, Presence};
use crate::resolve::{Desired, Drift};
use crate::resource::{Artifact, ArtifactSource, Bytes, Digest, FileSpec, Kind, Resource, ResourceId, Spec};
use crate::targets;
use case::Case;
use std::collections::BTreeSet;

/// The remedy for one differing resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Create a secret, an environment or an artifact.
    Make,
    /// Compute an artifact's digest.
    Verify,
    /// Load a model.
    Load,
    /// Write a file.
    Write,
    /// Bring a server to its desired state.
    Run(RunRemedy),
    /// Remove it; stop it first if it is up.
    Remove {
        /// The proof that it is managed.
        managed: Managed,
        /// True if it is up.
        up: bool,
    },
}

/// The remedy for a declared server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunRemedy {
    /// Write its definition.
    pub(super) write: bool,
    /// Reload its definition in the runtime.
    pub(super) reload: bool,
    /// Enable it at boot.
    pub(super) enable: bool,
    /// The action on its process.
    pub(super) go: RunAction,
}

/// An action on a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunAction {
    /// Nothing.
    Leave,
    /// Wait until it is healthy: it is starting already.
    Await,
    /// Start it.
    Start,
    /// Wake it.
    Wake(Managed),
    /// Hand its socket off to a successor.
    HandOff(Managed),
    /// Stop and start it.
    Restart(Managed),
}

/// A differing resource and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) change: Change,
    /// `None` if the change is only reported.
    pub(super) remedy: Option<Remedy>,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) changes: Vec<Difference>,
    pub(super) unchanged: usize,
    pub(super) refusals: Vec<Refusal>,
}

/// Compares every declared resource, and every live managed one, with the desired state.
pub(super) fn compare(desired: &Desired, observed: &Observation, past: &Past) -> Comparison {
    let mut comparison = Comparison::default();
    for resource in desired.resources.values() {
        let presence = observed.resources.get(&resource.id);
        match one(Case { desired, observed, past, resource }, presence) {
            Verdict::Same => comparison.unchanged += 1,
            Verdict::Differs(difference) => comparison.changes.push(difference),
            Verdict::Refused(refusal) => comparison.refusals.push(refusal),
        }
    }
    // What stands aside for a declared server is part of that one's change.
    let aside: BTreeSet<ResourceId> = desired.resources.keys().filter_map(targets::previous).collect();
    let kept = |id: &ResourceId| past.keep.contains(id) && !past.oldest.contains(id);
    // Without other changes there is no further generation, unless it commits what exists.
    let committed = |resource: &Resource| past.committed.get(&resource.id) == Some(&resource.fields());
    let is_committed = past.committed.len() == desired.resources.len() && desired.resources.values().all(committed);
    let stays = is_committed
        && !past.trial
        && comparison.changes.iter().all(|difference| difference.remedy.is_none())
        && observed.resources.iter().filter(|(id, _)| !aside.contains(*id)).all(|(id, presence)| {
            let needed = desired.resources.contains_key(id) || past.keep.contains(id);
            needed || Managed::prove(&desired.stack, id, presence).is_none()
        });
    for (id, presence) in observed.resources.iter().filter(|(id, _)| !aside.contains(*id)) {
        let declared = desired.resources.contains_key(id) || kept(id) || (stays && past.keep.contains(id));
        // A model can be removed only through its server: it stays recorded until the server answers again.
        let unserved = matches!(presence, Presence::Unknown(_) | Presence::Present(Live::Model { unserved: true, .. }));
        if !declared && id.kind == Kind::Model && unserved {
            continue;
        }
        if let (false, true, Presence::Unknown(why)) = (declared, desired.policy.prune, presence) {
            // An unobservable resource may still exist: it does not count as removed.
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

fn one(case: Case<'_>, presence: Option<&Presence>) -> Verdict {
    let Case { desired, past, resource, .. } = case;
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
        (Spec::Artifact(spec), live) => artifact(case, spec, live),
        (Spec::File(spec), live) => file(desired, past, resource, spec, live),
        (Spec::Model(spec), live) => model::model(case, spec, live),
        (Spec::Run(spec), live) => run::run(case, spec, live),
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

/// Returns the cause for a declared but missing resource: it is new, or it was removed.
fn absent(past: &Past, resource: &Resource) -> Cause {
    if past.committed.contains_key(&resource.id) { Cause::Drift("it is missing".to_owned()) } else { Cause::Declared }
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

fn artifact(case: Case<'_>, spec: &Artifact, live: Option<&Live>) -> Verdict {
    let Case { past, resource, .. } = case;
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
        (None, _) => fetch(case, vec![absent(past, resource)]),
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
            fetch(case, causes)
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

fn fetch(case: Case<'_>, causes: Vec<Cause>) -> Verdict {
    let Case { desired, observed, resource, .. } = case;
    let size = observed.download_sizes.get(&resource.id).copied().map(Bytes);
    // The output of a command has no known size.
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

/// Returns the conflict with an unmanaged resource in a declared resource's place.
fn not_managed(resource: &Resource, place: &str, owner: Option<&str>) -> Refusal {
    let message = match owner {
        Some(stack) => format!("{place} belongs to the stack `{stack}`"),
        None => format!("{place} exists and is not managed by llamero"),
    };
    let hint = Some("move it away, or set another name or path in the manifest".to_owned());
    Refusal { on: resource.id.clone(), kind: RefusalKind::NotOurs, message, hint }
}

/// Returns the causes for a live resource with another fingerprint than the desired one.
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

/// Applies the drift policy: a change that is only reported loses its remedy.
fn sync(desired: &Desired, mut difference: Difference) -> Verdict {
    let only_drift = difference.change.causes.iter().all(Cause::is_drift);
    if only_drift {
        difference.change.verb = Verb::Correct;
        if desired.policy.drift == Drift::Warn {
            difference.change.left = true;
            difference.remedy = None;
        }
    }
    Verdict::Differs(difference)
}

/// Returns drift that is only reported, because no step ends it.
fn reported(resource: &Resource, causes: Vec<Cause>) -> Verdict {
    let change = change(resource, Verb::Correct, causes, Consequence::of(Disruption::None));
    Verdict::Differs(Difference { change: Change { left: true, ..change }, remedy: None })
}

fn undeclared(desired: &Desired, presence: &Presence, managed: Managed) -> Difference {
    let up = matches!(presence, Presence::Present(Live::Run(run)) if run.is_up());
    let disruption = if up { Disruption::Stop } else { Disruption::None };
    let loaded = matches!(presence, Presence::Present(Live::Model { loaded: true, .. }));
    let change = Change {
        on: managed.id().clone(),
        role: role_of(managed.id()),
        detail: loaded.then(|| "it is loaded and will be unloaded".to_owned()),
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
