//! One pass: from a plan to the recorded end of its generation.

use super::ending::Finished;
use super::prepare::{Options, Prepared};
use super::quarantine;
use super::transaction::Transaction;
use super::world::{Stack, World};
use crate::apply::Report;
use crate::history;
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
    let revision = prepared.revision.clone();
    let finished = Transaction::begin(stack, prepared, options, report, cancel)?.run().await;
    quarantine::remember(stack, &revision, &finished);
    Ok(finished)
}
