//! A failure to read or change a file.

use crate::resource::Bytes;
use crate::systems::Hint;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A failure to read or change a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Refused {
        /// The operation that failed, as a verb.
        operation: &'static str,
        /// The path it failed on.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The path is occupied by something other than a regular file, which is not replaced.
    #[error("cannot replace {}: it is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file exceeds the size limit.
    #[error("{} is larger than {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size accepted.
        limit: Bytes,
    },
    /// The text is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    pub(in crate::systems) fn refused(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Refused { operation, path: path.to_owned(), source }
    }

    /// Returns the failure of an operation, as a verb, on a path.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Refused { operation, path: path.to_owned(), source }
    }

    /// Returns the path concerned.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Refused { path, .. }
            | Self::NotAFile { path }
            | Self::TooLarge { path, .. }
            | Self::NotText { path } => path,
        }
    }

    /// Returns whether it failed because the file exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.kind() == ErrorKind::AlreadyExists)
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let (path, source) = match self {
            Self::Refused { path, source, .. } => (path, source),
            Self::NotAFile { path } => return Some(format!("see `ls -ld {}`, and move it away", path.display())),
            Self::TooLarge { .. } | Self::NotText { .. } => return None,
        };
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Some(format!("free some space on the file system of {} and retry", path.display()))
            }
            ErrorKind::ReadOnlyFilesystem => Some("its file system is mounted read-only; mount it writable".to_owned()),
            ErrorKind::PermissionDenied => {
                Some(format!("give the user who runs llamero access; see `ls -ld {}`", path.display()))
            }
            _ => None,
        }
    }
}
