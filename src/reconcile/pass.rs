//! One pass: from a plan to the recorded end of its generation.

use super::ending::Finished;
use super::prepare::{Options, Prepared};
use super::quarantine;
use super::transaction::Transaction;
use super::world::{Stack, World};
use crate::apply::{Executed, Execution, Report, execute};
use crate::history::{self, Ending};
use crate::plan::{Phase, Plan};
use crate::resolve::Desired;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// Executes a plan to its end: committed, rolled back, or stuck. The stack lock must be held.
///
/// An error means that nothing was changed.
pub async fn run_pass<W: World>(
    stack: &Stack<W>,
    prepared: Prepared,
    options: Options,
    report: &Report<'_>,
    cancel: &CancellationToken,
) -> Result<Finished, history::Error> {
    let (revision, plan) = (prepared.revision.clone(), prepared.plan.clone());
    let mut finished = Transaction::begin(stack, prepared, options, report, cancel)?.run().await;
    quarantine::remember(stack, &revision, &finished);
    // Records go once they are of no use: a plan that was not carried out to its end needs them.
    let is_over = finished.outcome.ending == Ending::Committed && finished.later_failures.is_empty();
    if is_over && !finished.interrupted {
        let desired = &revision.desired;
        let Executed { steps, failures, interrupted, .. } = purge(stack, desired, &plan, report, cancel).await;
        finished.outcome.steps.extend(steps);
        finished.later_failures.extend(failures);
        finished.interrupted |= interrupted;
    }
    Ok(finished)
}

/// Executes the last phase of a plan, which removes the records of the stack, its own among them.
async fn purge<W: World>(
    stack: &Stack<W>,
    desired: &Desired,
    plan: &Plan,
    report: &Report<'_>,
    cancel: &CancellationToken,
) -> Executed {
    let execution = Execution { desired, inventory: &[], systems: &stack.systems, report, cancel };
    execute(execution, plan, Phase::Purge, &BTreeSet::new(), false).await
}
