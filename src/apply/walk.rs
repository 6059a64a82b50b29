//! The walk itself: steps in any order that respects what each waits for, several at once.

use super::step::{self, Failure};
use super::{Event, Scene};
use crate::history::{StepOutcome, StepResult};
use crate::observed::FoundRun;
use crate::plan::{Action, Phase, Plan, Step, StepId};
use crate::resource::{Digest, ResourceId, Seconds};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many steps are under way at once.
const AT_ONCE: usize = 8;

/// How a walk ended.
#[derive(Debug, Default)]
pub struct Walk {
    /// Every step of the phases that were walked.
    pub steps: Vec<StepOutcome>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Whether it was stopped from outside before it was done.
    pub interrupted: bool,
    /// Servers that were unhealthy before and still are, and so did not fail the walk.
    pub unhealthy_before: BTreeSet<ResourceId>,
    /// How long servers took from start to healthy.
    pub start_times: BTreeMap<ResourceId, Seconds>,
    /// How servers that were started were found when they became healthy.
    pub proved: BTreeMap<ResourceId, FoundRun>,
    /// The content that each model had when all was well.
    pub contents: BTreeMap<ResourceId, Digest>,
}

impl Walk {
    /// Returns whether every step was done.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.failures.is_empty() && !self.interrupted
    }

    /// Adds what a later walk brought.
    pub fn extend(&mut self, later: Self) {
        self.steps.extend(later.steps);
        self.failures.extend(later.failures);
        self.interrupted |= later.interrupted;
        self.unhealthy_before.extend(later.unhealthy_before);
        self.start_times.extend(later.start_times);
        self.proved.extend(later.proved);
        self.contents.extend(later.contents);
    }
}

/// Walks the steps of one phase. After a failure, steps that do not depend on it still happen, unless `fail_fast`.
///
/// A server in `tolerated` that does not become healthy does not fail the walk: it was not healthy before either.
pub async fn walk(
    scene: Scene<'_>,
    plan: &Plan,
    phase: Phase,
    tolerated: &BTreeSet<ResourceId>,
    fail_fast: bool,
) -> Walk {
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.phase == phase).collect();
    let mut walk = Walk::default();
    if steps.is_empty() {
        return walk;
    }
    (scene.report)(Event::Phase { phase, steps: steps.len() });
    let mut waiting: Vec<&Step> = steps.iter().rev().copied().collect();
    let mut done: BTreeSet<StepId> = BTreeSet::new();
    let mut results: BTreeMap<StepId, StepOutcome> = BTreeMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        let stopping = scene.cancel.is_cancelled() || (fail_fast && !walk.failures.is_empty());
        let mut index = waiting.len();
        while index > 0 && running.len() < AT_ONCE && !stopping {
            index -= 1;
            if waiting[index].after.iter().all(|id| done.contains(id)) {
                let step = waiting.remove(index);
                running.push(take(scene, step));
            }
        }
        let Some((step, took, result)) = running.next().await else { break };
        let result = result.map(|found| {
            if let (Action::AwaitHealthy(id), Some(found)) = (&step.action, found) {
                walk.proved.insert(id.clone(), found);
            }
        });
        let (result, failure) = settle(step, result, tolerated, &mut walk);
        if failure.is_none() {
            done.insert(step.id);
            // To wake is not to start.
            let woken = |id: &ResourceId| {
                steps.iter().any(|step| matches!(&step.action, Action::Wake(ours) if ours.id() == id))
            };
            if let Action::AwaitHealthy(id) = &step.action
                && !walk.unhealthy_before.contains(id)
                && !woken(id)
            {
                let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                walk.start_times.insert(id.clone(), Seconds::new(milliseconds.div_ceil(1000)));
            }
        }
        results.insert(step.id, outcome(step, result, failure.as_ref()));
        // What somebody stopped has not failed; the step was not done, so the walk is interrupted.
        walk.failures.extend(failure.filter(|failure| !failure.interrupted));
    }
    walk.interrupted = scene.cancel.is_cancelled() && done.len() < steps.len();
    for step in steps {
        let outcome = results.remove(&step.id).unwrap_or_else(|| outcome(step, StepResult::NotAttempted, None));
        walk.steps.push(outcome);
    }
    walk
}

async fn take<'a>(scene: Scene<'_>, step: &'a Step) -> (&'a Step, Duration, Result<Option<FoundRun>, Failure>) {
    let name = step.action.to_string();
    (scene.report)(Event::Started { step: name.clone(), on: step.action.on().cloned() });
    let begun = Instant::now();
    let result = match &step.action {
        Action::AwaitHealthy(id) => step::await_healthy(scene, &step.action, id).await.map(Some),
        action => step::perform(scene, action).await.map(|()| None),
    };
    let took = begun.elapsed();
    (scene.report)(match &result {
        Ok(_) => Event::Done { step: name, took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) },
        Err(failure) => Event::Failed { step: name, why: failure.why.clone() },
    });
    (step, took, result)
}

fn settle(
    step: &Step,
    result: Result<(), Failure>,
    tolerated: &BTreeSet<ResourceId>,
    walk: &mut Walk,
) -> (StepResult, Option<Failure>) {
    match (result, &step.action) {
        (Ok(()), _) => (StepResult::Done, None),
        (Err(_), Action::AwaitHealthy(id)) if tolerated.contains(id) => {
            walk.unhealthy_before.insert(id.clone());
            (StepResult::Failed, None)
        }
        (Err(failure), _) => (StepResult::Failed, Some(failure)),
    }
}

fn outcome(step: &Step, result: StepResult, failure: Option<&Failure>) -> StepOutcome {
    StepOutcome {
        step: step.action.to_string(),
        result,
        why: failure.map(|failure| failure.why.clone()),
        hint: failure.and_then(|failure| failure.hint.clone()),
        log: failure.map(|failure| failure.log.clone()).unwrap_or_default(),
    }
}
