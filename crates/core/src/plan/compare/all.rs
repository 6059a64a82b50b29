//! Comparison of the whole desired state with the observation.

use super::case::Case;
use super::difference::{Comparison, Difference, Remedy};
use super::unseen::{blind, blind_parts};
use super::verdicts::{Verdict, absent, made};
use super::{artifact, file, model, run};
use crate::live::{Live, Managed, Observation, Presence, Unseen};
use crate::plan::cause::Cause;
use crate::plan::change::{Change, Consequence, Disruption, Undetermined, Verb};
use crate::plan::past::Past;
use crate::resolve::Desired;
use crate::resource::{Kind, Resource, ResourceId, SecretReference, Spec};
use crate::targets;
use std::collections::BTreeSet;

/// Compares every declared resource, and every live managed one, with the desired state.
pub(in crate::plan) fn compare(desired: &Desired, observed: &Observation, past: &Past) -> Comparison {
    let mut comparison = Comparison::default();
    for resource in desired.resources.values() {
        let presence = observed.resources.get(&resource.id);
        match one(Case { desired, observed, past, resource }, presence) {
            Verdict::Same => match undetermined(desired, resource) {
                Some(undetermined) => comparison.undetermined.push(undetermined),
                None => comparison.unchanged += 1,
            },
            Verdict::Differs(difference) => comparison.changes.push(difference),
            Verdict::Refused(refusal) => comparison.refusals.push(refusal),
        }
    }
    // What stands aside for a declared server is part of that one's change.
    let aside: BTreeSet<ResourceId> = desired.resources.keys().filter_map(targets::previous).collect();
    let kept = |id: &ResourceId| past.keep.contains(id) && !past.oldest.contains(id);
    // A model can be removed only through its server: it stays recorded until the server answers again.
    let unserved = |id: &ResourceId, presence: &Presence| {
        let unserved = matches!(presence, Presence::Unknown(_) | Presence::Present(Live::Model { unserved: true, .. }));
        id.kind == Kind::Model && unserved
    };
    // Without other changes there is no further generation, unless it commits what exists.
    let committed = |resource: &Resource| past.committed.get(&resource.id) == Some(&resource.fields());
    let is_committed = past.committed.len() == desired.resources.len() && desired.resources.values().all(committed);
    let stays = is_committed
        && !past.trial
        && comparison.changes.iter().all(|difference| difference.remedy.is_none())
        && observed.resources.iter().filter(|(id, _)| !aside.contains(*id)).all(|(id, presence)| {
            let needed = desired.resources.contains_key(id) || past.keep.contains(id) || unserved(id, presence);
            needed || Managed::prove(&desired.stack, id, presence).is_none()
        });
    for (id, presence) in observed.resources.iter().filter(|(id, _)| !aside.contains(*id)) {
        let declared = desired.resources.contains_key(id) || kept(id) || (stays && past.keep.contains(id));
        if !declared && unserved(id, presence) {
            continue;
        }
        if let (false, true, Presence::Unknown(unseen)) = (declared, desired.policy.prune, presence) {
            // An unobservable resource may still exist: it does not count as removed.
            comparison.refusals.push(blind(id, unseen));
            continue;
        }
        if let (false, Some(managed)) = (declared, Managed::prove(&desired.stack, id, presence)) {
            comparison.changes.push(undeclared(desired, presence, managed));
        }
    }
    comparison.refusals.extend(blind_parts(desired, observed, &comparison.refusals));
    comparison.changes.sort_by(|one, other| one.change.on.cmp(&other.change.on));
    comparison
}

fn one(case: Case<'_>, presence: Option<&Presence>) -> Verdict {
    let Case { desired, past, resource, .. } = case;
    let presence = match presence {
        Some(Presence::Unknown(unseen)) => return Verdict::Refused(blind(&resource.id, unseen)),
        None => return Verdict::Refused(blind(&resource.id, &Unseen::not_inspected())),
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
        (Spec::Artifact(spec), live) => artifact::artifact(case, spec, live),
        (Spec::File(spec), live) => file::file(case, spec, live),
        (Spec::Model(spec), live) => model::model(case, spec, live),
        (Spec::Run(spec), live) => run::run(case, spec, live),
        (Spec::Secret(_) | Spec::Environment(_) | Spec::Image(_), Some(_)) => Verdict::Same,
    }
}

/// Returns what is unknown of a resource that matches the manifest otherwise.
fn undetermined(desired: &Desired, resource: &Resource) -> Option<Undetermined> {
    let secrets: BTreeSet<SecretReference> = desired.unknown_in(resource).into_iter().cloned().collect();
    let Resource { id, role, .. } = resource;
    (!secrets.is_empty()).then(|| Undetermined { on: id.clone(), role: role.clone(), secrets })
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
