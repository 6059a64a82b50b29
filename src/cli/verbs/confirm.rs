//! `llamero confirm`: says that what was applied with `--confirm-within` is to stay.

use super::super::exit::Exit;
use super::super::problem::{Problem, say};
use super::super::progress::Progress;
use super::super::{StackArgument, load};
use crate::reconcile::{Confirmation, confirm};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    let progress = Progress::new(false);
    let report = |event| progress.tell(event);
    match confirm(&stack, &load::user(), &report).await? {
        Confirmation::Committed(number) => {
            say(&format!("Generation {number} of {} is confirmed, and is the good one.", stack.name));
            Ok(Exit::Done)
        }
        Confirmation::TooLate(number) => {
            Err(Problem::new(Exit::RolledBack, format!("it is too late: generation {number} is taken back"))
                .hint("`llamero apply --confirm-within` tries it again"))
        }
        Confirmation::Unanswered(number) => {
            let message = format!("generation {number} is confirmed, and who is at work has not answered yet");
            Err(Problem::new(Exit::TimedOut, message).hint("`llamero history` says what became of it"))
        }
        Confirmation::NothingWaits => {
            let at_work = stack.history.occupant().map(|occupant| format!("still at work: {occupant}"));
            let problem = Problem::new(Exit::Error, format!("nothing of `{}` waits to be confirmed", stack.name));
            Err(problem.hint(at_work.unwrap_or_else(|| "`llamero history` says how it ended".to_owned())))
        }
    }
}
