//! `llamero deadman`, which no user types: the dead-man's switch, which rolls back a generation whose apply process is
//! gone.

use super::super::arguments::{ManifestArgument, StackArgument};
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, to_stderr};
use super::super::progress::{Detail, Progress};
use crate::reconcile::{Fired, fire};
use crate::resource::Seconds;
use crate::systems::{clock, detached};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The stack
    #[arg(long, value_name = "NAME")]
    stack: String,
    /// The generation
    #[arg(long, value_name = "GENERATION")]
    generation: u64,
    /// Become a process of its own, and fire when no heartbeat has come for so long
    #[arg(long, value_name = "DURATION")]
    after: Option<Seconds>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let manifest = ManifestArgument { manifest: None };
    let stack = input::stack(&StackArgument { manifest, stack: Some(arguments.stack.clone()) })?;
    let number = arguments.generation;
    if arguments.after.is_some() {
        detached::leave_session();
        stack.enlist_deadman(number)?;
        detached::report_ready();
    }
    let log = |text: &str| to_stderr(&format!("{} {text}", clock::now()));
    let progress = Progress::new(Detail::Calls);
    let report = |event| progress.show(event);
    let after = arguments.after.map(Seconds::duration);
    Ok(match fire(&stack, number, after, &log, &report).await? {
        Fired::NothingToDo => Exit::Done,
        Fired::Committed => {
            log(&format!("generation {number} was confirmed and committed"));
            Exit::Done
        }
        Fired::RolledBack => {
            log(&format!("generation {number} was rolled back"));
            Exit::Done
        }
        Fired::Stuck => {
            log(&format!("rollback of generation {number} failed; manual intervention required: `llamero status`"));
            Exit::Stuck
        }
    })
}
