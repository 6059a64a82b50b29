//! The failures of the records on disk.

use super::holder::LockHolder;
use crate::systems::{FailureKind, Hint, Retry, files, sealed};

/// A failure of the records on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A record is damaged, or of a later llamero.
    #[error(transparent)]
    Record(#[from] sealed::Error),
    /// Another llamero is changing the stack.
    #[error("another llamero is changing this stack: {0}")]
    Occupied(LockHolder),
    /// There is no such generation.
    #[error("there is no generation {0}")]
    NoGeneration(u64),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Occupied(_) => Some("wait until it is done; the lock goes with its process".to_owned()),
            Self::NoGeneration(_) => Some("`llamero history` lists them".to_owned()),
        }
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::Occupied(_)) { Retry::Soon } else { Retry::of_causes(self) }
    }

    fn kind(&self) -> FailureKind {
        if matches!(self, Self::Occupied(_)) { FailureKind::Locked } else { FailureKind::Error }
    }
}
