//! One reconcile pass: observe, plan, execute, gate, commit or roll back, with records.
//!
//! The only module that combines the parts of the flow. Apply, rollback and down are the same pass with another
//! desired state.

mod deadman;
mod error;
mod fire;
mod guard;
mod inspect;
mod load;
mod notice;
mod pins;
mod quarantine;
mod record;
mod request;
mod rollback;
mod saved_plan;
mod stacks;
mod teardown;
mod transaction;
mod world;

pub use deadman::{FIRE_AFTER, disarm};
pub use error::Error;
pub use fire::{Confirmation, Fired, confirm, fire};
pub use guard::{Coverage, Guard, Staleness};
pub use inspect::{observation, plan_against, rendered_changes, stack_status};
pub use load::{LoadedManifest, default_path};
pub use notice::{Notice, Notify};
pub use pins::{LockFileUpdate, PinChange, SourceReport, SourceState, lock, outdated, update};
pub use quarantine::{attempt, environment_digest};
pub use request::{Applied, Pending, Request, Source, Verdict, blocked, check_coverage, open};
pub use saved_plan::SavedPlan;
pub use stacks::StackSelector;
pub use teardown::Cleared;
pub use transaction::Finished;
pub use world::{Stack, Switch, World};

use crate::apply::Report;
use crate::history::{self, Memory, Revision};
use crate::live::Observation;
use crate::observe::Depth;
use crate::plan::{Past, Plan, plan};
use crate::resource::{Resource, ResourceId, Seconds};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transaction::{Transaction, orphans, started};

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
    inventory: Vec<Resource>,
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
    revision: Revision,
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

/// Executes a plan to its end: committed, rolled back, or stuck. The stack lock must be held.
///
/// An error means that nothing was changed.
pub async fn run_pass<W: World>(
    stack: &Stack<W>,
    mut prepared: Prepared,
    options: Options,
    report: &Report<'_>,
    cancel: &CancellationToken,
) -> Result<Finished, history::Error> {
    prepared.revision.orphans = orphans(&prepared.revision.desired, &prepared.observed, &prepared.inventory);
    let number = stack.history.begin(&prepared.revision)?;
    let revision = prepared.revision.clone();
    let finished = Transaction::new(stack, number, prepared, options, report, cancel).run().await;
    quarantine::remember(stack, &revision, &finished);
    Ok(finished)
}
