//! One reconcile pass: observe, plan, execute, gate, commit or roll back, and record all of it.
//!
//! The only place where the flow's parts meet. Applying, rolling back and taking down are this one line with another
//! desired state; none has a path of its own.

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

/// A wish with the plan that leads to it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What was asked for.
    pub revision: Revision,
    /// What was seen.
    pub observed: Observation,
    /// What earlier generations left to know.
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
    /// Only rehearse what would take another's place, and clear it away again.
    pub rehearse: bool,
    /// Keep nothing of earlier generations: models and environments go too.
    pub purge: bool,
    /// How long somebody has to confirm the new generation before it is taken back; without, nobody needs to.
    pub confirm_within: Option<Seconds>,
    /// How long after the last sign of life of this process the watcher goes back.
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
    /// Returns the servers that have not proved themselves as they are wished for: those that the plan starts, and those
    /// that an apply which was cut off left running.
    #[must_use]
    pub fn unverified(&self) -> BTreeSet<ResourceId> {
        let good = |resource: &Resource| self.past.committed.get(&resource.id) == Some(&resource.fields());
        let others = self.revision.desired.runs().filter(|(resource, _)| !good(resource));
        started(&self.plan).into_iter().chain(others.map(|(resource, _)| resource.id.clone())).collect()
    }

    /// Returns the servers that are not healthy, with what is wrong; they are not told apart by whose fault it is.
    #[must_use]
    pub fn unhealthy(&self) -> BTreeMap<ResourceId, String> {
        let live = self.revision.desired.runs().filter_map(|(resource, _)| {
            let health = self.observed.run(&resource.id)?.health.as_ref().filter(|health| !health.is_healthy())?;
            Some((resource.id.clone(), health.to_string()))
        });
        live.collect()
    }
}

/// Executes a plan to its end: committed, rolled back, or stuck. The lock must be held.
///
/// An error means that nothing was touched.
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
