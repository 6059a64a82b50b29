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
use crate::resource::{Kind, Resource};
use crate::systems::Retry;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// How the way back went.
#[derive(Debug, Default)]
pub(super) struct Back {
    pub(super) walk: Walk,
}

pub(super) async fn go_back(stack: &Stack, report: &Report<'_>) -> Result<Back, history::Error> {
    let good = stack.history.committed()?;
    report(Event::GoingBack { to: good.as_ref().map(|good| good.number) });
    let mut desired = good
        .map_or_else(|| Desired::nothing(stack.name.clone(), Policy::default()), |generation| generation.wish.desired);
    // Whatever the policy says of drift and pruning, the way back is whole.
    desired.policy = Policy { drift: Drift::Correct, prune: true, ..desired.policy };
    let Memory { mut past, mut inventory } = stack.history.memory()?;
    let kept = |resource: &&Resource| matches!(resource.id.kind, Kind::Artifact | Kind::Environment);
    past.keep.extend(inventory.iter().filter(kept).map(|resource| resource.id.clone()));
    let observed = observe(&stack.systems, &desired, &inventory, Depth::State).await;
    let plan = plan(&desired, &observed, &past);
    inventory.extend(desired.resources.values().cloned());
    let mut back = Back::default();
    for refusal in &plan.refusals {
        back.walk.failures.push(Failure {
            on: Some(refusal.on.clone()),
            why: refusal.message.clone(),
            hint: refusal.hint.clone(),
            log: Vec::new(),
            retry: Retry::Never,
        });
    }
    // Somebody who stops the way back would leave the machine in between.
    let cancel = CancellationToken::new();
    let scene = Scene { desired: &desired, inventory: &inventory, systems: &stack.systems, report, cancel: &cancel };
    let none = BTreeSet::new();
    for phase in [Phase::Stage, Phase::Switch] {
        if back.walk.succeeded() {
            back.walk.extend(walk(scene, &plan, phase, &none, false).await);
        }
    }
    if back.walk.succeeded() {
        // What was not touched is as it was before, healthy or not.
        let touched = started(&plan);
        let others =
            desired.runs().map(|(resource, _)| resource.id.clone()).filter(|id| !touched.contains(id)).collect();
        back.walk.failures.extend(gate(scene, &touched, &others).await);
    }
    if back.walk.succeeded() {
        back.walk.extend(walk(scene, &plan, Phase::Prune, &none, false).await);
    }
    Ok(back)
}
