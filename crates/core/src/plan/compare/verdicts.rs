//! The verdict on one resource, and what the verdicts of all kinds have in common.

use super::difference::{Difference, Remedy};
use crate::live::Ownership;
use crate::plan::cause::{Cause, field_causes};
use crate::plan::change::{Change, Consequence, Disruption, Refusal, RefusalKind, Verb};
use crate::plan::past::Past;
use crate::resolve::{Desired, Drift};
use crate::resource::{Digest, Resource, Spec};

/// The result of the comparison of one declared resource.
pub(super) enum Verdict {
    /// It is as declared.
    Same,
    /// It differs.
    Differs(Difference),
    /// A conflict blocks the plan.
    Refused(Refusal),
}

/// Returns the cause for a declared but missing resource: it is new, or it was removed.
pub(super) fn absent(past: &Past, resource: &Resource) -> Cause {
    if past.committed.contains_key(&resource.id) { Cause::Drift("it is missing".to_owned()) } else { Cause::Declared }
}

pub(super) fn made(desired: &Desired, resource: &Resource, causes: Vec<Cause>, consequence: Consequence) -> Verdict {
    let change = change(resource, Verb::Create, causes, consequence);
    sync(desired, Difference { change, remedy: Some(Remedy::Make) })
}

pub(super) fn change(resource: &Resource, verb: Verb, causes: Vec<Cause>, consequence: Consequence) -> Change {
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

pub(super) fn short(digest: &Digest) -> String {
    format!("{}…", digest.short())
}

/// Returns the conflict with an unmanaged resource in a declared resource's place.
pub(super) fn not_managed(resource: &Resource, place: &str, owner: Option<&str>) -> Refusal {
    let message = match owner {
        Some(stack) => format!("{place} belongs to the stack `{stack}`"),
        None => format!("{place} exists and is not managed by llamero"),
    };
    let hint = Some("move it away, or set another name or path in the manifest".to_owned());
    Refusal { on: resource.id.clone(), kind: RefusalKind::NotOurs, message, hint }
}

/// Returns the causes for a live resource with another fingerprint than the desired one.
pub(super) fn asked_otherwise(past: &Past, resource: &Resource, claim: &Ownership) -> (Verb, Vec<Cause>) {
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
pub(super) fn sync(desired: &Desired, mut difference: Difference) -> Verdict {
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
pub(super) fn reported(resource: &Resource, causes: Vec<Cause>) -> Verdict {
    let change = change(resource, Verb::Correct, causes, Consequence::of(Disruption::None));
    Verdict::Differs(Difference { change: Change { left: true, ..change }, remedy: None })
}
