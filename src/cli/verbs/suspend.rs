//! `llamero suspend` and `llamero resume`: whether the stack may be changed.

use super::super::arguments::StackArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, note, to_stderr};

#[derive(Debug, clap::Args)]
pub(crate) struct SuspendArguments {
    /// Why, for other users
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
    let stack = input::stack(&arguments.stack)?;
    if let Some(earlier) = stack.suspend(input::user(), arguments.reason.clone())? {
        note(&format!("it was suspended already: {earlier}"));
    }
    to_stderr(&format!("{} is suspended; `llamero resume` ends that.", stack.name));
    Ok(Exit::Done)
}

pub(crate) fn resume(arguments: &ResumeArguments) -> Result<Exit, Problem> {
    let stack = input::stack(&arguments.stack)?;
    if stack.resume()? {
        to_stderr(&format!("{} is resumed.", stack.name));
    } else {
        note(&format!("{} was not suspended", stack.name));
    }
    Ok(Exit::Done)
}
