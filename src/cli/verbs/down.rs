//! `llamero down`: applies the desired state in which the stack has nothing.

use super::super::arguments::{PassArguments, StackArgument};
use super::super::exit::Exit;
use super::super::input;
use super::super::pass::{OutputMode, carry_out};
use super::super::problem::Problem;
use crate::reconcile::{Options, Request, Source, open};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
    /// Remove models, environments and the history too
    #[arg(long)]
    purge: bool,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    pass: PassArguments,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let source = Source::Nothing(Box::new(input::stack(&arguments.stack)?));
    let options = Options { purge: arguments.purge, ..Options::default() };
    let request = Request { options, ..Request::new(source, input::program()?, input::command()) };
    let pending = open(request, &input::notify).await?;
    carry_out(pending, OutputMode { pass: arguments.pass, down: true, dry_run: arguments.dry_run }).await
}
