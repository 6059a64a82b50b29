//! `llamero observe`: prints what is observed on the machine.

use super::super::arguments::ManifestArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print_json};
use crate::reconcile::observation;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&arguments.manifest)?;
    let revision = loaded.resolve(&input::notify).await?;
    print_json(&observation(&loaded.stack(input::program()?)?, &revision).await?)?;
    Ok(Exit::Done)
}
