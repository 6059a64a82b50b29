//! Rollback: a new plan from the live state to the last committed generation, through the same gate.
//!
//! It needs no network: models and environments of earlier generations are retained, and it removes only what the
//! failed generation started.

use super::prepare::started;
use super::world::{Stack, World};
use crate::apply::{Event, Executed, Execution, Failure, Report, execute, gate};
use crate::history::{self, Before, Memory};
use crate::observe::Depth;
use crate::plan::{Phase, Plan, plan};
use crate::resolve::{Desired, Drift, Policy};
use crate::resource::{Resource, ResourceId};
use crate::systems::Retry;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// Rolls back to the last committed generation, or to the empty state if there is none. Servers in `preexisting` were
/// unhealthy before, and need not be healthy after.
pub(super) async fn roll_back<W: World>(
    stack: &Stack<W>,
    preexisting: &BTreeSet<ResourceId>,
    report: &Report<'_>,
) -> Executed {
    or_failure(attempt(stack, preexisting, None, report).await)
}

/// Removes what a rehearsal created, and corrects nothing else.
pub(super) async fn undo_rehearsal<W: World>(
    stack: &Stack<W>,
    rehearsal: &Plan,
    preexisting: &BTreeSet<ResourceId>,
    report: &Report<'_>,
) -> Executed {
    or_failure(attempt(stack, preexisting, Some(rehearsal), report).await)
}

fn or_failure(attempted: Result<Executed, history::Error>) -> Executed {
    attempted.unwrap_or_else(|error| Executed { failures: vec![Failure::of(None, &error)], ..Executed::default() })
}

async fn attempt<W: World>(
    stack: &Stack<W>,
    preexisting: &BTreeSet<ResourceId>,
    rehearsal: Option<&Plan>,
    report: &Report<'_>,
) -> Result<Executed, history::Error> {
    let good = stack.history.committed()?;
    report(Event::RollingBack { to: good.as_ref().map(|good| good.number) });
    let mut desired = good.map_or_else(
        || Desired::nothing(stack.name.clone(), Policy::default()),
        |generation| generation.fulfilled().desired,
    );
    // Whatever the prune policy, resources of the failed generation are removed.
    desired.policy = Policy { drift: Drift::Correct, prune: true, ..desired.policy };
    let Memory { mut past, mut inventory } = stack.history.memory()?;
    let kept = |resource: &&Resource| resource.id.kind.lasts();
    past.keep.extend(inventory.iter().filter(kept).map(|resource| resource.id.clone()));
    past.oldest.clear();
    past.back = true;
    // Orphans from before the failed generation are not its own.
    past.keep.extend(stack.history.last_orphans()?);
    let observed = stack.systems.observe(&desired, &inventory, Depth::State).await;
    let back = plan(&desired, &observed, &past);
    let plan = match rehearsal {
        Some(rehearsal) => back.undoing(rehearsal),
        None => back,
    };
    inventory.extend(desired.resources.values().cloned());
    let mut executed = Executed::default();
    executed.failures.extend(plan.refusals.iter().map(|refusal| Failure {
        on: Some(refusal.on.clone()),
        why: refusal.message.clone(),
        hint: refusal.hint.clone(),
        log: Vec::new(),
        retry: Retry::Never,
        interrupted: false,
    }));
    // An interrupted rollback would leave a mixed state.
    let cancel = CancellationToken::new();
    let execution =
        Execution { desired: &desired, inventory: &inventory, systems: &stack.systems, report, cancel: &cancel };
    for phase in [Phase::Stage, Phase::Switch] {
        if executed.succeeded() {
            executed.extend(execute(execution, &plan, phase, preexisting, false).await);
        }
    }
    if executed.succeeded() {
        let touched = started(&plan);
        // Untouched servers stay as they were, healthy or not.
        let untouched = desired.runs().map(|(resource, _)| &resource.id).filter(|id| !touched.contains(*id));
        let preexisting = untouched.chain(preexisting).cloned().collect();
        let before = Before { preexisting, ..Before::default() };
        executed.failures.extend(gate(execution, &touched, &before, &executed.verified).await);
    }
    if executed.succeeded() {
        executed.extend(execute(execution, &plan, Phase::Prune, &BTreeSet::new(), false).await);
    }
    Ok(executed)
}
