//! The steps of models that servers pull.

use super::basis::Basis;
use super::steps::Steps;
use crate::live::{Live, Presence};
use crate::plan::compare::Remedy;
use crate::plan::step::{Action, Phase, StepId};
use crate::resource::{OllamaName, Resource, ResourceId, ServedModel, Spec};
use std::collections::BTreeMap;

/// Adds the steps of models: in the stage phase if their server keeps running unchanged, otherwise once it is up
/// again.
pub(super) fn models(basis: &Basis<'_>, phase: Phase, steps: &mut Steps<'_>) {
    let has_remedy = |id: &ResourceId, remedy: &Remedy| basis.remedies.get(id) == Some(&remedy);
    let mut pulls: BTreeMap<(&str, &OllamaName), StepId> = BTreeMap::new();
    for resource in basis.desired.resources.values() {
        let Spec::Model(model) = &resource.spec else { continue };
        let restarts = resource.needs.iter().any(|id| basis.comes_up(id));
        if restarts != (phase == Phase::Switch) {
            continue;
        }
        let after = steps.needed(resource, phase);
        let pulled = has_remedy(&resource.id, &Remedy::Make).then(|| {
            // A server that is pulling a name does not have it yet: further users wait for the same pull.
            let name = (model.endpoint.as_str(), &model.source);
            let mut after: Vec<StepId> = after.iter().chain(pulls.get(&name)).copied().collect();
            if !pulls.contains_key(&name) && is_content_kept(basis, resource, model) {
                after = vec![steps.add(phase, Action::KeepContent(resource.id.clone()), after)];
            }
            let step = steps.add(phase, Action::PullModel(resource.id.clone()), after);
            pulls.insert(name, step);
            step
        });
        let loads = restarts || pulled.is_some() || has_remedy(&resource.id, &Remedy::Load);
        if model.pinned && loads {
            let after = pulled.map_or(after, |step| vec![step]);
            steps.add(phase, Action::LoadModel(resource.id.clone()), after);
        }
    }
}

/// Returns whether the content of a model changes and a rollback needs the current one.
fn is_content_kept(basis: &Basis<'_>, resource: &Resource, model: &ServedModel) -> bool {
    match basis.observed.resources.get(&resource.id) {
        Some(Presence::Present(Live::Model { sha256: Some(content), .. })) => {
            let kept = model.kept(&basis.desired.stack, content).0;
            model.sha256.as_ref() != Some(content) && basis.past.keep.contains(&kept)
        }
        _ => false,
    }
}
