//! The stage phase: what is made before a running server is disturbed.

use super::basis::Basis;
use super::models::models;
use super::prerequisites::missing;
use super::steps::Steps;
use crate::plan::compare::Remedy;
use crate::plan::step::{Action, Phase};
use crate::resource::Kind;

/// Adds the steps that disturb no running server.
pub(super) fn stage(basis: &Basis<'_>, steps: &mut Steps<'_>) {
    // Kinds are ordered so that what others are made with comes first: secrets, environments, artifacts.
    for (id, remedy) in &basis.remedies {
        let action = match (id.kind, remedy) {
            (Kind::Secret, Remedy::Make) => Action::GenerateSecret((*id).clone()),
            (Kind::Environment, Remedy::Make) => Action::CreateEnvironment((*id).clone()),
            (Kind::Artifact, Remedy::Make) => Action::FetchArtifact((*id).clone()),
            (Kind::Image, Remedy::Make) => Action::PullImage((*id).clone()),
            (Kind::Artifact, Remedy::Verify) => Action::VerifyArtifact((*id).clone()),
            _ => continue,
        };
        let after = basis.desired.resources.get(*id).map(|resource| steps.needed(resource, Phase::Stage));
        let step = steps.add(Phase::Stage, action, after.unwrap_or_default());
        steps.set_ready(id, step);
    }
    let starts = basis.runs.keys().copied().filter(|id| basis.comes_up(id));
    for (kind, what) in missing(basis.desired, basis.observed, starts) {
        steps.add(Phase::Stage, Action::Prepare { kind, what }, Vec::new());
    }
    models(basis, Phase::Stage, steps);
}
