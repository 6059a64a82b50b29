//! `llamero update`: moves the lock file on to what models' sources lead to now. Nothing is fetched before an apply.

use super::super::exit::Exit;
use super::super::problem::{Problem, print};
use super::super::{ManifestArgument, load};
use super::lock::{line, output, pins};
use crate::lockfile::{Source, sources};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The models, and the parts that run in containers, to move on [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The manifest [default: llamero.yaml here, then ~/.config/llamero/llamero.yaml]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = load::manifest(&ManifestArgument { manifest: arguments.manifest.clone() })?;
    let all = sources(&loaded.manifest);
    let unknown = arguments.names.iter().find(|model| !all.iter().any(|source| source.parts.contains(model)));
    if let Some(model) = unknown {
        let known: Vec<&str> = all.iter().flat_map(|source| &source.parts).map(String::as_str).collect();
        let hint = match known.as_slice() {
            [] => "nothing in this manifest has a source that can be held to something".to_owned(),
            known => format!("those that can be held to something are {}", known.join(", ")),
        };
        return Err(Problem::new(Exit::Error, format!("there is nothing called `{model}` to update")).hint(hint));
    }
    let output = output(&loaded).await?;
    let named = |source: &Source| {
        arguments.names.is_empty() || source.parts.iter().any(|model| arguments.names.contains(model))
    };
    let chosen = all.into_iter().filter(named).collect();
    let mut lock = loaded.lock.clone().unwrap_or_default();
    let mut text = String::new();
    for (source, pin) in pins(&loaded, chosen).await? {
        match lock.pins.get(&source.key) {
            // The repository may have gone on without this file: what is held stays.
            Some(known) if known.sha256 == pin.sha256 => continue,
            Some(known) => text.push_str(&format!("~ {} (was {})\n", line(&source.key, &pin), known.sha256.short())),
            None => text.push_str(&format!("+ {}\n", line(&source.key, &pin))),
        }
        lock.pins.insert(source.key, pin);
    }
    if text.is_empty() {
        print("nothing moved\n")?;
        return Ok(Exit::Done);
    }
    output.write(&lock.text())?;
    print(&format!("{text}`llamero plan` shows what that means, and `llamero apply` makes it so\n"))?;
    Ok(Exit::Done)
}
