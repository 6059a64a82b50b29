//! The way back: a new plan from what is live now to the last good generation, through the same gate.
//!
//! It needs no network: models and environments of earlier generations are kept, and nothing is cleared away but what
//! the failed generation started.

use super::{Stack, started};
use crate::apply::{Event, Failure, Report, Scene, Walk, gate, walk};
use crate::desired::{Desired, Drift, Policy};
use crate::history::{self, Memory};
use crate::observe::{Depth, observe};
use crate::plan::{Phase, plan};
use crate::resource::{Resource, ResourceId};
use crate::systems::Retry;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// Goes back to the last good generation, or to nothing where there was none. Servers in `tolerated` were not healthy
/// before, and need not be after.
pub(super) async fn go_back(stack: &Stack, tolerated: &BTreeSet<ResourceId>, report: &Report<'_>) -> Walk {
    told(attempt(stack, tolerated, Some(Drift::Correct), report).await)
}

/// Clears away what a rehearsal made. Nothing else was touched, so the stack's own word on drift counts.
pub(super) async fn leave_rehearsal(stack: &Stack, tolerated: &BTreeSet<ResourceId>, report: &Report<'_>) -> Walk {
    told(attempt(stack, tolerated, None, report).await)
}

fn told(attempted: Result<Walk, history::Error>) -> Walk {
    attempted.unwrap_or_else(|error| Walk { failures: vec![Failure::of(None, &error)], ..Walk::default() })
}

async fn attempt(
    stack: &Stack,
    tolerated: &BTreeSet<ResourceId>,
    drift: Option<Drift>,
    report: &Report<'_>,
) -> Result<Walk, history::Error> {
    let good = stack.history.committed()?;
    report(Event::GoingBack { to: good.as_ref().map(|good| good.number) });
    let mut desired = good.map_or_else(
        || Desired::nothing(stack.name.clone(), Policy::default()),
        |generation| generation.fulfilled().desired,
    );
    // Whatever the policy says of pruning, what the failed generation made goes.
    desired.policy = Policy { drift: drift.unwrap_or(desired.policy.drift), prune: true, ..desired.policy };
    let Memory { mut past, mut inventory } = stack.history.memory()?;
    let kept = |resource: &&Resource| resource.id.kind.lasts();
    past.keep.extend(inventory.iter().filter(kept).map(|resource| resource.id.clone()));
    past.oldest.clear();
    // What was there before the failed generation and is no part of the good one was not made by it.
    past.keep.extend(stack.history.last_leftover()?);
    let observed = observe(&stack.systems, &desired, &inventory, Depth::State).await;
    let plan = plan(&desired, &observed, &past);
    inventory.extend(desired.resources.values().cloned());
    let mut walked = Walk::default();
    walked.failures.extend(plan.refusals.iter().map(|refusal| Failure {
        on: Some(refusal.on.clone()),
        why: refusal.message.clone(),
        hint: refusal.hint.clone(),
        log: Vec::new(),
        retry: Retry::Never,
        interrupted: false,
    }));
    // Somebody who stops the way back would leave the machine in between.
    let cancel = CancellationToken::new();
    let scene = Scene { desired: &desired, inventory: &inventory, systems: &stack.systems, report, cancel: &cancel };
    for phase in [Phase::Stage, Phase::Switch] {
        if walked.succeeded() {
            walked.extend(walk(scene, &plan, phase, tolerated, false).await);
        }
    }
    if walked.succeeded() {
        let touched = started(&plan);
        // What was not touched is as it was before, healthy or not.
        let untouched = desired.runs().map(|(resource, _)| &resource.id).filter(|id| !touched.contains(*id));
        let excused = untouched.chain(tolerated).cloned().collect();
        walked.failures.extend(gate(scene, &touched, &excused, &walked.proved).await);
    }
    if walked.succeeded() {
        walked.extend(walk(scene, &plan, Phase::Prune, &BTreeSet::new(), false).await);
    }
    Ok(walked)
}
