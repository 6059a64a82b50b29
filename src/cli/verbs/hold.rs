//! `llamero hold` and `llamero release`: whether a stack is to stay as it is.

use super::super::exit::Exit;
use super::super::problem::{Problem, note, say};
use super::super::{StackArgument, load};
use crate::pace::Hold;
use crate::systems::clock;
use crate::turn::Stack;

#[derive(Debug, clap::Args)]
pub(crate) struct HoldArguments {
    /// Why, for whoever finds it held
    #[arg(value_name = "REASON")]
    reason: Option<String>,
    #[command(flatten)]
    stack: StackArgument,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArguments {
    #[command(flatten)]
    stack: StackArgument,
}

pub(crate) fn hold(arguments: &HoldArguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    if let Some(earlier) = stack.history.hold()? {
        note(&format!("it was held already: {}", words(&earlier)));
    }
    let hold = Hold { by: load::user(), since: clock::now(), reason: arguments.reason.clone() };
    stack.history.set_hold(Some(&hold))?;
    say(&format!("{} is held as it is; `llamero release` ends that.", stack.name));
    Ok(Exit::Done)
}

pub(crate) fn release(arguments: &ReleaseArguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    // A record that cannot be read is removed as well: it says no more than that it is held.
    let held = stack.history.hold();
    stack.history.set_hold(None)?;
    match held {
        Ok(None) => note(&format!("nobody held {}", stack.name)),
        _ => say(&format!("{} is held no more.", stack.name)),
    }
    Ok(Exit::Done)
}

/// Refuses to change a stack that somebody holds.
pub(super) fn check(stack: &Stack) -> Result<(), Problem> {
    let Some(hold) = stack.history.hold()? else { return Ok(()) };
    let message = format!("{} is held as it is: {}; nothing was changed", stack.name, words(&hold));
    Err(Problem::new(Exit::Refused, message).hint(format!("`llamero release --stack {}` ends that", stack.name)))
}

/// Says who holds a stack.
pub(super) fn words(hold: &Hold) -> String {
    let reason = hold.reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default();
    format!("by {} since {}{reason}", hold.by, hold.since)
}
