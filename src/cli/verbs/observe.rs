//! `llamero observe`: prints what is seen on the machine.

use super::super::exit::Exit;
use super::super::problem::{Problem, print_json};
use super::super::{ManifestArgument, load};
use crate::observe::{Depth, observe};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = load::manifest(&arguments.manifest)?;
    let revision = load::revision(&loaded).await?;
    let stack = load::stack(&loaded.manifest.stack.value, &loaded.directories)?;
    let inventory = stack.history.memory()?.inventory;
    print_json(&observe(&stack.systems, &revision.desired, &inventory, Depth::Health).await)?;
    Ok(Exit::Done)
}
