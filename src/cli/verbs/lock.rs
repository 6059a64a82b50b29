//! `llamero lock`: pins every source to its current digest. What is pinned already stays as it is.

use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print};
use super::super::progress::{Detail, Progress};
use crate::cli::arguments::ManifestArgument;
use crate::lockfile::Pin;
use crate::reconcile::{self, PinChange};
use crate::resource::Bytes;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&arguments.manifest)?;
    let progress = Progress::new(Detail::Calls);
    let update = reconcile::lock(&loaded, &|event| progress.show(event)).await?;
    let path = update.path.display();
    let sources = if update.pins == 1 { "1 source".to_owned() } else { format!("{} sources", update.pins) };
    if update.changes.is_empty() && loaded.lock.is_some() {
        print(&format!("{path} is up to date: {sources}\n"))?;
    } else {
        print(&format!("{}{path} pins {sources}\n", lines(&update.changes)))?;
    }
    Ok(Exit::Done)
}

/// Returns a line for each change.
pub(super) fn lines(changes: &[PinChange]) -> String {
    let line = |change: &PinChange| match change {
        PinChange::Added(key, pin) => format!("+ {}\n", pinned(key, pin)),
        PinChange::Moved(key, pin, from) => format!("~ {} (was {})\n", pinned(key, pin), from.short()),
        PinChange::Removed(key) => format!("- {key}\n"),
    };
    changes.iter().map(line).collect()
}

fn pinned(key: &str, pin: &Pin) -> String {
    let size = pin.size.map(|size| format!("  {}", Bytes(size))).unwrap_or_default();
    format!("{key}  {}{size}", pin.sha256.short())
}
