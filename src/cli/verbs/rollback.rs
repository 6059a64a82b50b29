//! `llamero rollback`: plans from what is live to an earlier generation.

use super::super::arguments::{PassArguments, StackArgument};
use super::super::exit::Exit;
use super::super::input;
use super::super::pass::{OutputMode, carry_out};
use super::super::problem::Problem;
use crate::reconcile::{Request, Source, open};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The generation to roll back to [default: the committed one before the current one]
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
    #[command(flatten)]
    stack: StackArgument,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    pass: PassArguments,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let source = Source::Generation(Box::new(input::stack(&arguments.stack)?), arguments.generation);
    let request = Request::new(source, input::program()?, input::command());
    let pending = open(request, &input::notify).await?;
    carry_out(pending, OutputMode { pass: arguments.pass, down: false, dry_run: arguments.dry_run }).await
}
