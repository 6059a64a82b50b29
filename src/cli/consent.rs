//! Asks for consent before anything changes.

use super::problem::{self, Problem};
use crate::systems::FailureKind;
use std::io::{BufRead, IsTerminal};

/// Asks on the terminal, unless consent was given already.
pub(super) fn ask(question: &str, yes: bool) -> Result<(), Problem> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let message = "confirmation required but stdin is not a terminal; pass `--yes`";
        return Err(Problem::new(FailureKind::Declined, message));
    }
    // What is not shown is not answered either.
    problem::prompt(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Problem::new(FailureKind::Declined, "aborted; nothing was changed"))
}
