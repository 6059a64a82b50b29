//! Errors that prevent a request. Each is found before a running server is changed.

use super::Guard;
use crate::history;
use crate::observe;
use crate::systems::{FailureKind, Hint, Retry, files, http, output, sealed};
use std::path::PathBuf;

/// An error that prevents a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A guard stops it.
    #[error(transparent)]
    Guard(#[from] Guard),
    /// The records of the stack cannot be used.
    #[error(transparent)]
    History(#[from] history::Error),
    /// A record cannot be used.
    #[error(transparent)]
    Record(#[from] sealed::Error),
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// An output cannot be written.
    #[error(transparent)]
    Output(#[from] output::Error),
    /// There can be no HTTP client.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// No manifest is given, and there is none at the default paths.
    #[error("there is no llamero.yaml here and no {}", .0.display())]
    NoManifest(PathBuf),
    /// A file that is named is not there.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// The manifest has errors, which were reported as notes.
    #[error("{} in {}; nothing was changed", counted(*.errors), path.display())]
    Invalid {
        /// The manifest.
        path: PathBuf,
        /// The number of errors.
        errors: usize,
    },
    /// The manifest has the name that its lock file would have.
    #[error("{} would be its own lock file; nothing was changed", .0.display())]
    OwnLockFile(PathBuf),
    /// The manifest's path is not UTF-8, so records and unit files cannot name what lies beside it.
    #[error("the path {} is not UTF-8; nothing was changed", .0.display())]
    NotUtf8(PathBuf),
    /// The lock file cannot be read.
    #[error("{} is damaged: {why}; nothing was changed", path.display())]
    DamagedLockFile {
        /// The lock file.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// The saved plan cannot be read.
    #[error("{} is a damaged plan: {why}", path.display())]
    DamagedPlan {
        /// The saved plan.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// The observation cannot be read.
    #[error("{} is not an observation: {why}", path.display())]
    NotObservation {
        /// The file.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// A saved plan contains its canary already.
    #[error("a saved plan contains its canary already; nothing was changed")]
    CanaryOfPlan,
    /// A canary needs a gateway.
    #[error("{} has no gateway, and so no routes to change; nothing was changed", .0.display())]
    NoGateway(PathBuf),
    /// The canary names no model.
    #[error("there is no model `{model}` in {}; nothing was changed", path.display())]
    NoModel {
        /// The name.
        model: String,
        /// The manifest.
        path: PathBuf,
        /// Which names there are.
        hint: Option<String>,
    },
    /// Nothing in the manifest that has a source is called so.
    #[error("nothing called `{name}` has a source to update")]
    NoSource {
        /// The name.
        name: String,
        /// Which names there are.
        known: Vec<String>,
    },
    /// It is not known what a source leads to.
    #[error("{key}: {}; nothing was changed", chain(.error))]
    Source {
        /// The source.
        key: String,
        /// The cause.
        error: observe::PinError,
    },
    /// There is no such stack.
    #[error("there is no stack `{0}`")]
    NoStack(String),
    /// No stack is named, no manifest was found, and there is not one stack only.
    #[error("{}", if .0.is_empty() {
        "no stack was applied here and no manifest was found".to_owned()
    } else {
        format!("there are several stacks: {}", .0.join(", "))
    })]
    WhichStack(Vec<String>),
    /// There is no earlier generation to roll back to.
    #[error("there is no earlier committed generation to roll back to")]
    NoEarlier,
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Guard(error) => return error.hint(),
            Self::History(error) => return error.hint(),
            Self::Record(error) => return error.hint(),
            Self::Files(error) => return error.hint(),
            Self::Output(error) => return error.hint(),
            Self::Http(error) => return error.hint(),
            Self::Source { error, .. } => return error.hint(),
            Self::NoModel { hint, .. } => return hint.clone(),
            Self::NoSource { known, .. } => {
                return Some(match known.as_slice() {
                    [] => "nothing in this manifest has a source that can be pinned".to_owned(),
                    known => format!("these have one: {}", known.join(", ")),
                });
            }
            Self::NoFile(_) | Self::Invalid { .. } | Self::DamagedPlan { .. } | Self::NotObservation { .. } => {
                return None;
            }
            Self::NoManifest(_) => "name the manifest, such as `llamero plan stack.yaml`",
            Self::OwnLockFile(_) => "give the manifest another extension, such as `.yaml`",
            Self::NotUtf8(_) => "rename the file or folder: records and unit files name what lies beside it",
            Self::DamagedLockFile { .. } => "restore it from git, or move it away and run `llamero lock`",
            Self::CanaryOfPlan => "pass `--canary` when you plan: `llamero plan --canary MODEL -o FILE`",
            Self::NoGateway(_) => "leave out `--canary`",
            Self::NoStack(_) => "name one that was applied, or point to its manifest",
            Self::WhichStack(stacks) if stacks.is_empty() => "name the manifest: `llamero apply MANIFEST`",
            Self::WhichStack(_) => "name one: `--stack NAME`",
            Self::NoEarlier => "`llamero history` lists them all",
        };
        Some(hint.to_owned())
    }

    fn retry(&self) -> Retry {
        match self {
            Self::History(error) => error.retry(),
            Self::Output(error) => error.retry(),
            Self::Http(error) => error.retry(),
            Self::Source { error, .. } => error.retry(),
            _ => Retry::of_causes(self),
        }
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Guard(error) => error.kind(),
            Self::History(error) => error.kind(),
            Self::Output(error) => error.kind(),
            Self::Invalid { .. } => FailureKind::InvalidManifest,
            _ => FailureKind::Error,
        }
    }
}

fn counted(errors: usize) -> String {
    if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") }
}

/// Returns an error's message with those of its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
