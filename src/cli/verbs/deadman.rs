//! `llamero return`, which no person types: watches over a generation, and takes it back when its apply is gone.

use super::super::exit::Exit;
use super::super::problem::{Problem, say};
use super::super::progress::Progress;
use super::super::{ManifestArgument, StackArgument, load};
use crate::reconcile::{Fired, fire};
use crate::resource::Seconds;
use crate::systems::{clock, detached};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The stack
    #[arg(long, value_name = "NAME")]
    stack: String,
    /// The generation to watch over
    #[arg(long, value_name = "GENERATION")]
    generation: u64,
    /// Become a process on its own, and go back when no sign of life has come for so long
    #[arg(long, value_name = "DURATION")]
    after: Option<Seconds>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let manifest = ManifestArgument { manifest: None };
    let stack = load::stack_of(&StackArgument { manifest, stack: Some(arguments.stack.clone()) })?;
    let number = arguments.generation;
    if arguments.after.is_some() {
        detached::leave_session();
        stack.enlist_deadman(number)?;
        detached::say_ready();
    }
    let tell = |text: &str| say(&format!("{} {text}", clock::now()));
    let progress = Progress::new(false);
    let report = |event| progress.tell(event);
    let after = arguments.after.map(Seconds::duration);
    Ok(match fire(&stack, number, after, &tell, &report).await? {
        Fired::NothingToDo => Exit::Done,
        Fired::Committed => {
            tell(&format!("generation {number} was confirmed, and is the good one"));
            Exit::Done
        }
        Fired::WentBack => {
            tell(&format!("generation {number} was taken back"));
            Exit::Done
        }
        Fired::Stuck => {
            tell(&format!("generation {number} could not be taken back; a person is needed: `llamero status`"));
            Exit::Stuck
        }
    })
}
