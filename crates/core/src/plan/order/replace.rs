//! Servers that cannot be changed: another takes the place of one, which stands aside until the other is verified.

use crate::live::{Managed, Observation};
use crate::plan::aside::aside;
use crate::plan::compare::RunRemedy;
use crate::plan::past::Past;
use crate::plan::step::Action;
use crate::resolve::Desired;
use crate::resource::{Fingerprint, Resource, ResourceId};
use crate::targets;

/// The calls by which a server comes to be as declared under its own name, besides its stop and its start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replacement {
    /// Those before its start, one after another.
    pub(super) before: Vec<Action>,
    /// The one that removes what stands aside, once the server is verified.
    pub(super) after: Option<Action>,
}

/// Returns the calls that replace a server; nothing where its target changes it in place.
pub(super) fn replacement(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    resource: &Resource,
    remedy: &RunRemedy,
) -> Option<Replacement> {
    let id = &resource.id;
    targets::previous(id)?;
    let aside = aside(desired, observed, resource);
    let remove = |previous| Action::RemoveAside { server: id.clone(), previous };
    if !remedy.write {
        return Some(Replacement { before: Vec::new(), after: aside.map(|(managed, _)| remove(managed)) });
    }
    let create = Action::Create(id.clone());
    let restore = |previous| Action::Restore { server: id.clone(), previous };
    let current = observed.resources.get(id).and_then(|presence| Managed::prove(&desired.stack, id, presence));
    let Some(current) = current else {
        return Some(match aside {
            Some((previous, true)) => Replacement { before: vec![restore(previous)], after: None },
            Some((previous, false)) => Replacement { before: vec![create], after: Some(remove(previous)) },
            None => Replacement { before: vec![create], after: None },
        });
    };
    let set_aside = Action::SetAside(current.clone());
    let after = Some(Action::RemovePrevious(current.clone()));
    Some(match aside {
        None => Replacement { before: vec![set_aside, create], after },
        // It was verified, so what stands aside was only left behind.
        Some((previous, _)) if is_committed(observed, past, id) => {
            Replacement { before: vec![remove(previous), set_aside, create], after }
        }
        Some((previous, true)) => {
            Replacement { before: vec![Action::Discard(current), restore(previous)], after: None }
        }
        Some((previous, false)) => {
            Replacement { before: vec![Action::Discard(current), create], after: Some(remove(previous)) }
        }
    })
}

fn is_committed(observed: &Observation, past: &Past, id: &ResourceId) -> bool {
    let committed = past.committed.get(id).map(Fingerprint::of);
    let live = observed.run(id).and_then(|live| live.definition.as_ref());
    !past.trial && committed.is_some() && live.map(|claim| &claim.fingerprint) == committed.as_ref()
}
