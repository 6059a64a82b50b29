//! `llamero rollback`: goes to an earlier generation, by a new plan from what is live now.

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::{StackArgument, load};
use super::apply::{OutputMode, carry_out, command};
use crate::history::Revision;
use crate::observe::Depth;
use crate::reconcile::{Options, prepare};
use crate::systems::clock;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The generation to go to [default: the good one before the current one]
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
    #[command(flatten)]
    stack: StackArgument,
    /// Agree to the changes beforehand
    #[arg(short, long)]
    yes: bool,
    /// Print what happens as one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    let _lock = stack.history.lock(&command())?;
    let number = match arguments.generation {
        Some(number) => number,
        None => before_current(&stack)?,
    };
    let generation = stack.history.load(number)?;
    if !generation.is_committed() {
        let problem = Problem::new(Exit::Refused, format!("generation {number} was never a good one"));
        return Err(problem.hint("`llamero history` says which were"));
    }
    let origin = Some(format!("rollback to generation {number}"));
    let revision = Revision {
        begun: clock::now(),
        llamero: env!("CARGO_PKG_VERSION").to_owned(),
        origin,
        ..generation.fulfilled()
    };
    let options = Options::default();
    let prepared = prepare(&stack, revision, Depth::Health, options).await?;
    // A person named the generation.
    let mode = OutputMode { yes: arguments.yes, json: arguments.json, down: false, prune_anyway: true };
    carry_out(&stack, prepared, options, &mode).await
}

fn before_current(stack: &crate::reconcile::Stack) -> Result<u64, Problem> {
    let current = stack.history.current()?;
    let revision = current.map(|number| stack.history.load(number)).transpose()?.map(|good| good.revision.desired);
    let good = stack.history.all()?;
    let earlier = good.iter().rev().find(|generation| {
        generation.is_committed()
            && current.is_some_and(|current| generation.number < current)
            && revision.as_ref() != Some(&generation.revision.desired)
            // A stack that was taken down is nothing to go back to unasked.
            && !generation.revision.desired.resources.is_empty()
    });
    earlier.map(|generation| generation.number).ok_or_else(|| {
        Problem::new(Exit::Error, "there is no earlier good generation to go back to")
            .hint("`llamero history` lists them all")
    })
}
