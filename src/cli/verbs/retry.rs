//! `llamero retry`: clears the failure record of a manifest.

use super::super::arguments::ManifestArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, note, to_stderr};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&arguments.manifest)?;
    let path = loaded.path.display();
    if loaded.stack(input::program()?)?.clear_failures(&loaded)? {
        to_stderr(&format!("Cleared the failure record of {path}."));
    } else {
        note(&format!("{path} has no failure record"));
    }
    Ok(Exit::Done)
}
