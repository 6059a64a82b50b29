//! `llamero confirm`: keeps what was applied with `--confirm-within`.

use super::super::arguments::StackArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, to_stderr};
use super::super::progress::{Detail, Progress};
use crate::reconcile::{Confirmation, confirm};
use crate::systems::FailureKind;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = input::stack(&arguments.stack)?;
    let progress = Progress::new(Detail::Resources);
    let report = |event| progress.show(event);
    match confirm(&stack, &input::user(), &report).await? {
        Confirmation::Committed(number) => {
            to_stderr(&format!("Generation {number} of {} is confirmed and committed.", stack.name));
            Ok(Exit::Done)
        }
        Confirmation::TooLate(number) => {
            Err(Problem::new(FailureKind::RolledBack, format!("too late: generation {number} is rolled back"))
                .hint("`llamero apply --confirm-within` tries it again"))
        }
        Confirmation::Unanswered(number) => {
            let message = format!("generation {number} is confirmed, and the apply process has not committed it yet");
            Err(Problem::new(FailureKind::Transient, message).hint("`llamero history` shows how it ends"))
        }
        Confirmation::NothingWaits => {
            let at_work = stack.history.occupant().map(|occupant| format!("in progress: {occupant}"));
            let problem =
                Problem::new(FailureKind::Error, format!("no generation of `{}` awaits confirmation", stack.name));
            Err(problem.hint(at_work.unwrap_or_else(|| "`llamero history` shows how it ended".to_owned())))
        }
    }
}
