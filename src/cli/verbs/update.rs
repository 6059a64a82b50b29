//! `llamero update`: pins sources to what they lead to now. Nothing is fetched before an apply.

use super::super::arguments::ManifestArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print};
use super::super::progress::{Detail, Progress};
use super::lock::lines;
use crate::reconcile;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The models, and the parts that run in containers, to update [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The manifest [default: llamero.yaml here, then ~/.config/llamero/llamero.yaml]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&ManifestArgument { manifest: arguments.manifest.clone() })?;
    let progress = Progress::new(Detail::Calls);
    let update = reconcile::update(&loaded, &arguments.names, &|event| progress.show(event)).await?;
    if update.changes.is_empty() {
        print("nothing moved\n")?;
    } else {
        let changes = lines(&update.changes);
        print(&format!("{changes}`llamero plan` shows what that means, and `llamero apply` applies it\n"))?;
    }
    Ok(Exit::Done)
}
