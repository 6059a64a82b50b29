//! Secrets that a plan needs and that cannot be read: known before anything is touched.

use crate::apply::{Failure, Machine};
use crate::plan::{Action, Phase, Plan};
use crate::resolve::Desired;
use crate::resource::{Content, Piece, SecretReference, Spec};
use crate::systems::secrets;
use std::collections::BTreeSet;

/// Returns a failure for each file of a plan that needs a secret which cannot be read.
pub(super) fn unreadable<M: Machine>(plan: &Plan, desired: &Desired, machine: &M) -> Vec<Failure> {
    let first = plan.first.as_deref().unwrap_or(desired);
    let written = plan.steps.iter().filter_map(|step| match &step.action {
        Action::WriteFile(id) if step.phase == Phase::Canary => first.resources.get(id),
        Action::WriteFile(id) => desired.resources.get(id),
        _ => None,
    });
    let declared: BTreeSet<&SecretReference> = desired.secrets().collect();
    let unreadable = written.filter_map(|resource| {
        let Spec::File(file) = &resource.spec else { return None };
        let mut failure = Failure::of(Some(&resource.id), &of_content(&file.content, machine)?);
        if file.content.secrets().any(|reference| !declared.contains(reference)) {
            let hint = "the previous routes need it until the canary has been tried: set it once more, or let all routes \
                        change at once";
            failure.hint = Some(hint.to_owned());
        }
        Some(failure)
    });
    unreadable.collect()
}

fn of_content<M: Machine>(content: &Content, machine: &M) -> Option<secrets::Error> {
    content.0.iter().find_map(|piece| match piece {
        Piece::Text(_) => None,
        Piece::Secret { reference, .. } => machine.secret(reference).err(),
    })
}
