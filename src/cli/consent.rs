//! Asks a person before anything changes.

use super::exit::Exit;
use super::problem::Problem;
use std::io::{BufRead, IsTerminal, Write};

/// Asks, unless `yes` was said already. Without a terminal to ask on, silence is no consent.
pub(super) fn ask(question: &str, yes: bool) -> Result<(), Problem> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let problem = Problem::new(Exit::Refused, "nobody is there to agree to these changes; nothing was changed");
        return Err(problem.hint("say `--yes`"));
    }
    // What is not shown is not answered either.
    let mut errors = anstream::stderr();
    let _ = write!(errors, "{question} [y/N] ").and_then(|()| errors.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Problem::new(Exit::Refused, "not agreed to; nothing was changed"))
}
