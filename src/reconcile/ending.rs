//! The end of a generation, on record.

use super::world::{Stack, World};
use crate::apply::{Executed, Failure};
use crate::history::{Ending, Outcome};

/// The end of a reconcile pass.
#[derive(Debug)]
pub struct Finished {
    /// Its generation.
    pub generation: u64,
    /// True if it was interrupted.
    pub interrupted: bool,
    /// Its recorded outcome.
    pub outcome: Outcome,
    /// The failures up to the outcome.
    pub failures: Vec<Failure>,
    /// The failures while rolling back or pruning.
    pub later_failures: Vec<Failure>,
    /// The committed generation now.
    pub current: Option<u64>,
}

/// Puts on record how a generation ended. Where that cannot be written, it is one more failure.
pub(super) fn finish<W: World>(
    stack: &Stack<W>,
    number: u64,
    ending: Ending,
    executed: Executed,
    mut later: Executed,
) -> Finished {
    let outcome = outcome(stack, ending, &executed, &later);
    if let Err(error) = stack.history.end(number, &outcome) {
        later.failures.push(Failure::of(None, &error));
    }
    Finished {
        generation: number,
        interrupted: executed.interrupted,
        outcome,
        failures: executed.failures,
        later_failures: later.failures,
        current: stack.history.current().unwrap_or_default(),
    }
}

/// Returns the outcome of an execution.
pub(super) fn outcome<W: World>(stack: &Stack<W>, ending: Ending, executed: &Executed, later: &Executed) -> Outcome {
    Outcome {
        ending,
        touched: executed.touched,
        ended: stack.systems.now(),
        why: executed.failures.first().map(|failure| failure.why.clone()),
        steps: executed.steps.clone(),
        rollback: later.steps.clone(),
        unhealthy_before: executed.unhealthy_before.iter().cloned().collect(),
        start_times: executed.start_times.clone(),
        contents: executed.contents.clone(),
    }
}
