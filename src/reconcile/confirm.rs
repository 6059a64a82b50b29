//! Confirmation: a generation that has passed its gate is committed when `llamero confirm` is run in time.

use super::prepare::{Options, Prepared, prepare};
use super::world::{Stack, World};
use super::{deadman, quarantine};
use crate::apply::{Event, Execution, Report, execute};
use crate::history::{self, Confirmed, Ending, Passed};
use crate::observe::Depth;
use crate::plan::Phase;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest wait of a confirmation for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The polling interval of a confirmation.
const CLOSELY: Duration = Duration::from_millis(100);

/// The result of a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing waits to be confirmed.
    NothingWaits,
    /// The generation is committed.
    Committed(u64),
    /// It came too late: the generation is rolled back.
    TooLate(u64),
    /// It is recorded, and the process that holds the stack has not answered yet.
    Unanswered(u64),
}

/// Confirms the waiting generation: its apply commits it, or this process does if the apply is gone.
pub async fn confirm<W: World>(
    stack: &Stack<W>,
    by: &str,
    report: &Report<'_>,
) -> Result<Confirmation, history::Error> {
    let Some((number, passed)) = stack.history.waiting()? else { return Ok(Confirmation::NothingWaits) };
    if stack.systems.until(&passed.until).is_zero() {
        return Ok(Confirmation::TooLate(number));
    }
    stack.history.set_confirmed(number, &Confirmed { by: by.to_owned(), at: stack.systems.now() })?;
    let begun = stack.systems.elapsed();
    while stack.systems.elapsed().saturating_sub(begun) < ANSWER {
        if let Some(outcome) = stack.history.outcome(number)? {
            let good = outcome.ending == Ending::Committed;
            return Ok(if good { Confirmation::Committed(number) } else { Confirmation::TooLate(number) });
        }
        match stack.history.lock(&format!("llamero confirm --stack {}", stack.name)) {
            // Without its record it is being rolled back, and its switch finishes that.
            Ok(_lock) if stack.history.outcome(number)?.is_none() && stack.history.passed(number)?.is_some() => {
                commit(stack, number, &passed, report).await?;
                deadman::disarm(stack).await;
                return Ok(Confirmation::Committed(number));
            }
            Ok(_) | Err(history::Error::Occupied(_)) => {}
            Err(error) => return Err(error),
        }
        stack.systems.sleep(CLOSELY).await;
    }
    Ok(Confirmation::Unanswered(number))
}

/// Waits for the confirmation of a generation; returns the reason if there is none.
pub(super) async fn await_confirmation<W: World>(
    stack: &Stack<W>,
    number: u64,
    passed: &Passed,
    cancel: &CancellationToken,
) -> Result<(), String> {
    loop {
        // Checked first: a confirmation at the last moment counts.
        let left = stack.systems.until(&passed.until);
        match stack.history.confirmed(number) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if left.is_zero() {
            return Err(unconfirmed(passed.within.duration()));
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err("it was interrupted before it was confirmed".to_owned()),
            () = stack.systems.sleep(CLOSELY.min(left)) => {}
        }
    }
}

/// Returns the message about an unconfirmed generation.
pub(super) fn unconfirmed(within: Duration) -> String {
    format!("it was not confirmed within {} s", within.as_secs_f32())
}

/// Commits a generation that has passed its gate, and prunes undeclared resources.
pub(super) async fn commit<W: World>(
    stack: &Stack<W>,
    number: u64,
    passed: &Passed,
    report: &Report<'_>,
) -> Result<(), history::Error> {
    stack.history.end(number, &passed.outcome)?;
    report(Event::Committed { generation: number });
    let revision = Arc::unwrap_or_clone(stack.history.load(number)?.revision);
    quarantine::succeeded(stack, &revision);
    let prepared = prepare(stack, revision, Depth::State, Options::default()).await?;
    // Drift since its gate is left to the next apply.
    if prepared.plan.steps.iter().all(|step| step.phase == Phase::Prune) {
        let Prepared { revision, plan, inventory, .. } = prepared;
        let cancel = CancellationToken::new();
        let execution = Execution {
            desired: &revision.desired,
            inventory: &inventory,
            systems: &stack.systems,
            report,
            cancel: &cancel,
        };
        execute(execution, &plan, Phase::Prune, &BTreeSet::new(), false).await;
    }
    let _ = stack.history.trim();
    Ok(())
}
