//! Unknown secrets that a plan cannot do without.

use super::part::PartCall;
use super::result::Plan;
use super::step::{Action, Phase};
use crate::resolve::Desired;
use crate::resource::{ResourceId, SecretReference};
use std::collections::BTreeMap;

impl Plan {
    /// Returns the unknown secrets that a step needs, each with the first resource that cannot be written, started or
    /// probed without it.
    #[must_use]
    pub fn needs_unknown(&self, desired: &Desired) -> BTreeMap<SecretReference, ResourceId> {
        let mut needed = BTreeMap::new();
        if desired.unknown.is_empty() {
            return needed;
        }
        let first = self.first.as_deref().unwrap_or(desired);
        for step in &self.steps {
            let declared = if step.phase == Phase::Canary { first } else { desired };
            let Some(resource) = needs(&step.action).and_then(|id| declared.resources.get(id)) else { continue };
            let probe = resource.run().and_then(|run| run.probe.authorization()).map(|authorization| &authorization.0);
            let probe = probe.filter(|secret| desired.unknown.contains_key(secret));
            for secret in declared.unknown_in(resource).into_iter().chain(probe) {
                needed.entry(secret.clone()).or_insert_with(|| resource.id.clone());
            }
        }
        needed
    }
}

/// Returns the resource whose secrets an action needs: what it writes, starts or asks.
const fn needs(action: &Action) -> Option<&ResourceId> {
    match action {
        Action::WriteFile(id) | Action::Create(id) | Action::Start(id) | Action::AwaitHealthy(id) => Some(id),
        Action::Restart(managed) | Action::Wake(managed) => Some(managed.id()),
        Action::Part(
            call @ (PartCall::StartSocket { .. } | PartCall::Start(_) | PartCall::Rehearse(_) | PartCall::OpenGate(_)),
        ) => Some(call.server()),
        Action::Try(trial) => Some(&trial.gateway),
        _ => None,
    }
}
