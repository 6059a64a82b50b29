//! `llamero retry`: forgets that a manifest failed.

use super::super::exit::Exit;
use super::super::problem::{Problem, note, say};
use super::super::{ManifestArgument, load};
use crate::pace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = load::manifest(&arguments.manifest)?;
    let stack = load::stack(&loaded.manifest.stack.value, &loaded.directories)?;
    let mut bad = stack.history.quarantine()?;
    let before = bad.len();
    pace::forget(&mut bad, &loaded.attempt());
    if bad.len() == before {
        note(&format!("{} has not failed as it is now", loaded.path.display()));
        return Ok(Exit::Done);
    }
    stack.history.set_quarantine(&bad)?;
    say(&format!("It is forgotten that {} failed; it may be tried again.", loaded.path.display()));
    Ok(Exit::Done)
}
