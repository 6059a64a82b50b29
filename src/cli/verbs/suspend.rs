//! `llamero suspend` and `llamero resume`: whether a stack is to stay as it is.

use super::super::exit::Exit;
use super::super::problem::{Problem, note, say};
use super::super::{StackArgument, load};
use crate::pace::Suspension;
use crate::reconcile::Stack;
use crate::systems::clock;

#[derive(Debug, clap::Args)]
pub(crate) struct SuspendArguments {
    /// Why, for whoever finds it held
    #[arg(value_name = "REASON")]
    reason: Option<String>,
    #[command(flatten)]
    stack: StackArgument,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArguments {
    #[command(flatten)]
    stack: StackArgument,
}

pub(crate) fn suspend(arguments: &SuspendArguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    if let Some(earlier) = stack.history.hold()? {
        note(&format!("it was held already: {}", words(&earlier)));
    }
    let hold = Suspension { by: load::user(), since: clock::now(), reason: arguments.reason.clone() };
    stack.history.set_hold(Some(&hold))?;
    say(&format!("{} is suspended; `llamero resume` ends that.", stack.name));
    Ok(Exit::Done)
}

pub(crate) fn resume(arguments: &ResumeArguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    // A record that cannot be read is removed as well: it says no more than that it is held.
    let exclusive = stack.history.hold();
    stack.history.set_hold(None)?;
    match exclusive {
        Ok(None) => note(&format!("was not suspended {}", stack.name)),
        _ => say(&format!("{} is resumed.", stack.name)),
    }
    Ok(Exit::Done)
}

/// Refuses to change a stack that somebody holds.
pub(super) fn check(stack: &Stack) -> Result<(), Problem> {
    let Some(hold) = stack.history.hold()? else { return Ok(()) };
    let message = format!("{} is suspended: {}; nothing was changed", stack.name, words(&hold));
    Err(Problem::new(Exit::Refused, message).hint(format!("`llamero resume --stack {}` ends that", stack.name)))
}

/// Says who holds a stack.
pub(super) fn words(hold: &Suspension) -> String {
    let reason = hold.reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default();
    format!("by {} since {}{reason}", hold.by, hold.since)
}
