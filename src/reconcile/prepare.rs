//! From a revision to a plan: observes the machine and plans the way. Writes nothing.

use super::deadman::FIRE_AFTER;
use super::unknown::assume;
use super::world::{Stack, World};
use crate::history::{self, Memory, Revision};
use crate::live::{Observation, Presence};
use crate::observe::Depth;
use crate::plan::{Action, Past, Plan, plan};
use crate::resource::{Resource, ResourceId, Seconds};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A revision with the plan that leads to it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The revision.
    pub revision: Revision,
    /// The observation.
    pub observed: Observation,
    /// The facts of earlier generations.
    pub past: Past,
    /// The way there.
    pub plan: Plan,
    pub(super) inventory: Vec<Resource>,
}

/// The options of a reconcile pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Stop at the first failure instead of going on with what does not depend on it.
    pub fail_fast: bool,
    /// Only verify successors off-line, and remove them again.
    pub rehearse: bool,
    /// Retain nothing of earlier generations: models and environments are removed too.
    pub purge: bool,
    /// The time to confirm the new generation before it is rolled back; `None` commits it without confirmation.
    pub confirm_within: Option<Seconds>,
    /// The time after the last heartbeat of this process at which the dead-man's switch fires.
    pub fire_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { fail_fast: false, rehearse: false, purge: false, confirm_within: None, fire_after: FIRE_AFTER }
    }
}

/// Observes and plans. Writes nothing.
pub async fn prepare<W: World>(
    stack: &Stack<W>,
    mut revision: Revision,
    depth: Depth,
    options: Options,
) -> Result<Prepared, history::Error> {
    let Memory { mut past, inventory } = stack.history.memory()?;
    if options.purge {
        past.keep.clear();
    }
    let others = stack.needed_by_others(&inventory);
    past.oldest.retain(|id| !others.contains(id));
    past.keep.extend(others);
    let observed = stack.systems.observe(&revision.desired, &inventory, depth).await;
    assume(&stack.history, &mut revision.desired, &observed, &inventory)?;
    let plan = plan(&revision.desired, &observed, &past);
    Ok(Prepared { revision, observed, past, plan, inventory })
}

impl Prepared {
    /// Returns the servers that are not verified against the revision: those that the plan starts, and those that an
    /// interrupted apply left running.
    #[must_use]
    pub fn unverified(&self) -> BTreeSet<ResourceId> {
        let good = |resource: &Resource| self.past.committed.get(&resource.id) == Some(&resource.fields());
        let others = self.revision.desired.runs().filter(|(resource, _)| !good(resource));
        started(&self.plan).into_iter().chain(others.map(|(resource, _)| resource.id.clone())).collect()
    }

    /// Returns resources of earlier generations that may still exist and that the revision does not declare.
    pub(super) fn orphans(&self) -> Vec<Resource> {
        let is_absent = |resource: &Resource| self.observed.presence(&resource.id) == Presence::Absent;
        let declared = &self.revision.desired.resources;
        let orphans =
            self.inventory.iter().filter(|resource| !is_absent(resource) && !declared.contains_key(&resource.id));
        orphans.cloned().collect()
    }

    /// Returns the unhealthy servers with their problems, whatever the cause.
    #[must_use]
    pub fn unhealthy(&self) -> BTreeMap<ResourceId, String> {
        let live = self.revision.desired.runs().filter_map(|(resource, _)| {
            let health = self.observed.run(&resource.id)?.health.as_ref().filter(|health| !health.is_healthy())?;
            Some((resource.id.clone(), health.to_string()))
        });
        live.collect()
    }
}

/// Returns the servers that a plan starts.
pub(super) fn started(plan: &Plan) -> BTreeSet<ResourceId> {
    let awaited = plan.steps.iter().filter_map(|step| match &step.action {
        Action::AwaitHealthy(id) => Some(id.clone()),
        _ => None,
    });
    awaited.collect()
}
