//! Why a download did not become a file.

use crate::resource::{Bytes, Digest};
use crate::systems::{Hint, Retry, exclusive, files, http, program};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why there is no file.
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
    /// The server does not let us have the file.
    #[error("{url} is not for us (status {status}, {})", if *with_token { "with a token" } else { "without a token" })]
    Denied {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The server asks to come back later, or is not well.
    #[error("{url} cannot be had now (status {status})")]
    Busy {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// How long the server asks to wait.
        after: Option<Duration>,
    },
    /// The server answers with something that is not the file.
    #[error("{url} answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server answers well, but not with what was asked for.
    #[error("{url} answers with something else than {expected}")]
    Strange {
        /// The address.
        url: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The file is not the one that was asked for.
    #[error("{what} has the sha256 {live}, not {expected}")]
    Checksum {
        /// The address, or the command, that it came from.
        what: String,
        /// What it must be.
        expected: Digest,
        /// What it is.
        live: Digest,
    },
    /// There is not enough room.
    #[error("{} needs {needed}, and {free} may be used on its disk", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// What is still to be written.
        needed: Bytes,
        /// What is free, less what must stay free.
        free: Bytes,
    },
    /// The server sends nothing more.
    #[error("{url} sent nothing for {} s", waited.as_secs_f32())]
    Stalled {
        /// The address.
        url: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended before the file did.
    #[error("{url} ended after {received} of {total} bytes")]
    Cut {
        /// The address.
        url: String,
        /// What is there.
        received: u64,
        /// What should be there.
        total: u64,
    },
    /// The server or the way to it failed.
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
        /// What was tried.
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
    /// Another is making the same.
    #[error(transparent)]
    Held(exclusive::Error),
    /// The command that makes the file did not come to its end.
    #[error("cannot make the file")]
    Command {
        /// The cause.
        #[source]
        source: program::Error,
    },
    /// The command that makes the file failed.
    #[error("`{program}` failed ({status}):\n{}", last(lines))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        lines: Vec<String>,
    },
    /// The command succeeded, and there is no file.
    #[error("`{program}` ended well, but did not write {}", path.display())]
    NotMade {
        /// The program.
        program: String,
        /// The file.
        path: PathBuf,
        /// The last lines that it wrote.
        lines: Vec<String>,
    },
    /// It was called off; what is there stays for the next time.
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
            Self::Checksum { .. } => "the file changed at its source, or the pinned sha256 is of another file".into(),
            Self::NoSpace { .. } => "free some space, or lower `machine.models.keep_free`".into(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space; the next try goes on where this one ended".into()
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
            _ => Retry::Never,
        }
    }
}

/// Returns what a status that is no success means.
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

/// Returns what turns a failed file operation into an error that names the file.
pub(super) fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { doing, path, source }
}

fn last(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(20)..].join("\n")
}
