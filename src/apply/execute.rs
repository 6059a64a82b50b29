//! Execution: steps in any order that respects their dependencies, several at a time.

use super::{Event, Execution, Failure, Machine, health};
use crate::history::{StepOutcome, StepResult};
use crate::live::LiveRun;
use crate::plan::{Action, Phase, Plan, Step, StepId};
use crate::resource::{Digest, ResourceId, Seconds};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The number of steps that run concurrently.
const AT_ONCE: usize = 8;

/// The result of an execution.
#[derive(Debug, Default)]
pub struct Executed {
    /// The outcome of every executed step.
    pub steps: Vec<StepOutcome>,
    /// The failures.
    pub failures: Vec<Failure>,
    /// True if it was stopped from outside before its end.
    pub interrupted: bool,
    /// True if it came to steps that touch what runs.
    pub touched: bool,
    /// Servers that were unhealthy before and still are; they do not fail the execution.
    pub unhealthy_before: BTreeSet<ResourceId>,
    /// The time from start to healthy of each started server.
    pub start_times: BTreeMap<ResourceId, Seconds>,
    /// The state of each started server when it became healthy.
    pub verified: BTreeMap<ResourceId, LiveRun>,
    /// The content of each model once every server was healthy.
    pub contents: BTreeMap<ResourceId, Digest>,
}

impl Executed {
    /// Returns whether every step was done.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.failures.is_empty() && !self.interrupted
    }

    /// Adds the result of a later execution.
    pub fn extend(&mut self, later: Self) {
        self.steps.extend(later.steps);
        self.failures.extend(later.failures);
        self.interrupted |= later.interrupted;
        self.touched |= later.touched;
        self.unhealthy_before.extend(later.unhealthy_before);
        self.start_times.extend(later.start_times);
        self.verified.extend(later.verified);
        self.contents.extend(later.contents);
    }
}

/// Executes the steps of one phase. After a failure, independent steps still run, unless `fail_fast`.
///
/// A pre-existing failure does not fail the execution.
pub async fn execute<M: Machine>(
    execution: Execution<'_, M>,
    plan: &Plan,
    phase: Phase,
    preexisting: &BTreeSet<ResourceId>,
    fail_fast: bool,
) -> Executed {
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.phase == phase).collect();
    let mut executed = Executed::default();
    if steps.is_empty() {
        return executed;
    }
    (execution.report)(Event::Phase { phase, steps: steps.len(), groups: plan.groups(phase) });
    let mut waiting: Vec<&Step> = steps.iter().rev().copied().collect();
    let mut done: BTreeSet<StepId> = BTreeSet::new();
    let mut results: BTreeMap<StepId, StepOutcome> = BTreeMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        let stopping = execution.cancel.is_cancelled() || (fail_fast && !executed.failures.is_empty());
        let mut index = waiting.len();
        while index > 0 && running.len() < AT_ONCE && !stopping {
            index -= 1;
            if waiting[index].after.iter().all(|id| done.contains(id)) {
                let step = waiting.remove(index);
                running.push(run_step(execution, step));
            }
        }
        let Some((step, took, result)) = running.next().await else { break };
        let result = result.map(|live| {
            if let (Action::AwaitHealthy(id), Some(live)) = (&step.action, live) {
                executed.verified.insert(id.clone(), live);
            }
        });
        let (result, failure) = judge(step, result, preexisting, &mut executed);
        if failure.is_none() {
            done.insert(step.id);
            // Waking does not count as a start.
            let woken = |id: &ResourceId| {
                steps.iter().any(|step| matches!(&step.action, Action::Wake(managed) if managed.id() == id))
            };
            if let Action::AwaitHealthy(id) = &step.action
                && !executed.unhealthy_before.contains(id)
                && !woken(id)
            {
                let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                executed.start_times.insert(id.clone(), Seconds::new(milliseconds.div_ceil(1000)));
            }
        }
        results.insert(step.id, outcome(step, result, failure.as_ref()));
        // A step stopped by the user has not failed; the execution is interrupted.
        executed.failures.extend(failure.filter(|failure| !failure.interrupted));
    }
    executed.interrupted = execution.cancel.is_cancelled() && done.len() < steps.len();
    for step in steps {
        let outcome = results.remove(&step.id).unwrap_or_else(|| outcome(step, StepResult::NotAttempted, None));
        executed.steps.push(outcome);
    }
    executed
}

async fn run_step<'a, M: Machine>(
    execution: Execution<'_, M>,
    step: &'a Step,
) -> (&'a Step, Duration, Result<Option<LiveRun>, Failure>) {
    let name = step.action.to_string();
    (execution.report)(Event::Started { step: name.clone(), on: step.action.on().cloned() });
    let begun = execution.systems.elapsed();
    let result = match &step.action {
        Action::AwaitHealthy(id) => health::await_healthy(execution, &step.action, id).await.map(Some),
        _ => execution.systems.perform(execution, step).await.map(|()| None),
    };
    let took = execution.systems.elapsed().saturating_sub(begun);
    (execution.report)(match &result {
        Ok(_) => Event::Done { step: name, took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) },
        Err(failure) => Event::Failed { step: name, why: failure.why.clone() },
    });
    (step, took, result)
}

fn judge(
    step: &Step,
    result: Result<(), Failure>,
    preexisting: &BTreeSet<ResourceId>,
    executed: &mut Executed,
) -> (StepResult, Option<Failure>) {
    match (result, &step.action) {
        (Ok(()), _) => (StepResult::Done, None),
        (Err(_), Action::AwaitHealthy(id)) if preexisting.contains(id) => {
            executed.unhealthy_before.insert(id.clone());
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
