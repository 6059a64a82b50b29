//! Failures to check or repair the records.

use crate::history;
use crate::systems::{FailureKind, Hint, files, process, sealed};

/// A failure to check or repair the records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The generations could not be listed.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The records of processes could not be used.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A record could not be rewritten.
    #[error(transparent)]
    Record(#[from] sealed::Error),
    /// A file or folder could not be used.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::History(error) => error.hint(),
            Self::Process(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Files(error) => error.hint(),
        }
    }

    fn kind(&self) -> FailureKind {
        if let Self::History(error) = self { error.kind() } else { FailureKind::Error }
    }
}
