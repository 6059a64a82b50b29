//! From arguments and the environment to manifests and stacks, with every notice on standard error.

use super::arguments::{ManifestArgument, StackArgument};
use super::color;
use super::problem::{Problem, note, to_stderr};
use crate::manifest;
use crate::reconcile::{LoadedManifest, Notice, Stack, StackSelector};
use crate::systems::FailureKind;
use std::path::PathBuf;

/// Reads the manifest of a verb.
pub(super) fn manifest(argument: &ManifestArgument) -> Result<LoadedManifest, Problem> {
    Ok(LoadedManifest::open(argument.manifest.as_deref(), &notify)?)
}

/// Opens the stack of a verb that needs no manifest.
pub(super) fn stack(argument: &StackArgument) -> Result<Stack, Problem> {
    let selector = StackSelector { name: argument.stack.as_deref(), manifest: argument.manifest.manifest.as_deref() };
    Ok(selector.open(program()?, &notify)?)
}

/// Prints a notice.
pub(super) fn notify(notice: Notice<'_>) {
    match notice {
        Notice::Notes { path, text, notes } => {
            to_stderr(&manifest::report(&path.display().to_string(), text, notes, color::on_errors()));
        }
        Notice::NotPinned(coverage) => {
            let (path, missing) = (coverage.path.display(), coverage.missing.join(", "));
            note(&format!("{path} does not pin {missing}; `llamero lock` adds it"));
        }
        Notice::Guard(guard) => note(&guard.to_string()),
    }
}

/// Returns llamero's own program.
pub(super) fn program() -> Result<PathBuf, Problem> {
    let missing = |error| Problem::new(FailureKind::Error, format!("cannot find llamero's own program: {error}"));
    std::env::current_exe().map_err(missing)
}

/// Returns the command line, for whoever finds the stack locked.
pub(super) fn command() -> String {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    format!("llamero {}", words.join(" "))
}

/// Returns the user's name, for records.
pub(super) fn user() -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| "an unnamed user".to_owned())
}
