//! Errors of downloads.

use crate::resource::{Bytes, Digest};
use crate::systems::{Hint, Retry, exclusive, files, http, program};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// A failure to download a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server has no such file.
    #[error("{url} does not exist (status {status})")]
    NotFound {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server denies access to the file.
    #[error("{url} denies access (status {status}, {})", if *with_token { "with a token" } else { "without a token" })]
    Denied {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// True if a token was sent.
        with_token: bool,
    },
    /// The server asks to retry later, or is unhealthy.
    #[error("{url} is unavailable (status {status})")]
    Busy {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// The delay that the server asks for.
        after: Option<Duration>,
    },
    /// The server answers with an unexpected status.
    #[error("{url} answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server answers successfully, but with unexpected content.
    #[error("{url} did not return {expected}")]
    Strange {
        /// The address.
        url: String,
        /// The expected content.
        expected: &'static str,
    },
    /// The file has another digest than expected.
    #[error("{what} has the sha256 {live}, not {expected}")]
    Checksum {
        /// The address, or the command, that it came from.
        what: String,
        /// The expected digest.
        expected: Digest,
        /// The actual digest.
        live: Digest,
    },
    /// There is not enough free space.
    #[error("{} needs {needed}, but only {free} is available on its disk", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// The bytes still to be written.
        needed: Bytes,
        /// The free bytes, less those to keep free.
        free: Bytes,
    },
    /// The server stopped sending, or sends almost nothing.
    #[error("{url} sent {received} bytes within {} s", waited.as_secs_f32())]
    Stalled {
        /// The address.
        url: String,
        /// The bytes received in that time.
        received: u64,
        /// The time waited.
        waited: Duration,
    },
    /// The connection ended before the file did.
    #[error("{url} ended after {received} of {total} bytes")]
    Cut {
        /// The address.
        url: String,
        /// The bytes received.
        received: u64,
        /// The bytes expected.
        total: u64,
    },
    /// The server does not say where the file ends, so that a broken connection looks like its end.
    #[error("{url} does not say how long the file is, so a download that breaks off would go unnoticed")]
    NoLength {
        /// The address.
        url: String,
    },
    /// The server or the connection failed.
    #[error("cannot download {url}")]
    Network {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: http::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// The operation that failed.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be made.
    #[error(transparent)]
    Folder(#[from] files::Error),
    /// Another process is writing the same file.
    #[error(transparent)]
    Held(exclusive::Error),
    /// The command that writes the file did not finish.
    #[error("cannot generate the file")]
    Command {
        /// The cause.
        #[source]
        source: program::Error,
    },
    /// The command that writes the file failed.
    #[error("`{program}` failed ({status}):\n{}", last(lines))]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines that it wrote.
        lines: Vec<String>,
    },
    /// The command succeeded without writing the file.
    #[error("`{program}` succeeded, but did not write {}", path.display())]
    NotMade {
        /// The program.
        program: String,
        /// The file.
        path: PathBuf,
        /// The last lines that it wrote.
        lines: Vec<String>,
    },
    /// The operation was cancelled; the bytes received so far stay for the next attempt.
    #[error("interrupted")]
    Cancelled,
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Denied { with_token: false, .. } => {
                "the file may need a token: set one for the model's source".into()
            }
            Self::Denied { with_token: true, .. } => {
                "check that the token is valid and that its owner has accepted the model's licence".into()
            }
            Self::NotFound { .. } => "check the repository, the file's name and the revision".into(),
            Self::Checksum { .. } => {
                "the file changed at its source, or the pinned sha256 belongs to another file".into()
            }
            Self::NoLength { .. } => "declare the file's `sha256`, which proves that all of it arrived".into(),
            Self::NoSpace { .. } => "free some space, or lower `machine.models.keep_free`".into(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space; the next attempt resumes where this one ended".into()
            }
            Self::Folder(error) => return error.hint(),
            Self::NotMade { .. } => "the command must write to `{path}`".into(),
            Self::Network { source, .. } => return source.hint(),
            _ => return None,
        })
    }

    fn interrupted(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::Stalled { .. } | Self::Cut { .. } | Self::Cancelled => Retry::Soon,
            Self::Network { source, .. } => source.retry(),
            _ => Retry::of_causes(self),
        }
    }
}

/// Returns the error for a status that is not a success.
pub(super) fn refusal(url: String, status: u16, incoming: &http::Incoming, with_token: bool) -> Error {
    match status {
        401 | 403 => Error::Denied { url, status, with_token },
        404 | 410 => Error::NotFound { url, status },
        408 | 429 | 500..=599 => {
            let after = incoming.header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
            Error::Busy { url, status, after: after.map(Duration::from_secs) }
        }
        _ => Error::Status { url, status },
    }
}

/// Returns a function that turns a failed file operation into an error naming the file.
pub(super) fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { doing, path, source }
}

fn last(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(20)..].join("\n")
}
