//! `llamero validate`: checks a manifest and changes nothing.

use super::super::arguments::ManifestArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&arguments.manifest)?;
    loaded.check(&input::notify)?;
    let manifest = &loaded.manifest;
    let counts = [
        (manifest.providers.0.len(), "provider"),
        (manifest.models.0.len(), "model"),
        (manifest.services.0.len(), "service"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let path = loaded.path.display();
    print(&format!("{path}: stack `{}` is valid: {}\n", manifest.stack.value, counts.join(", ")))?;
    Ok(Exit::Done)
}
