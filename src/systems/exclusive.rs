//! What only one at a time may make: a file beside it is locked meanwhile. The kernel lets go of it when its holder dies.

use super::{Hint, Retry};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether another is done.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest wait for another: what is made may be a large download on a slow line.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// Why a file could not be held.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made, or not be locked.
    #[error("cannot hold {}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another holds it, and does not let go.
    #[error("another llamero has held {} for {} hours", path.display(), DEADLINE.as_secs() / 3600)]
    Late {
        /// The file.
        path: PathBuf,
    },
    /// It was called off.
    #[error("interrupted")]
    Cancelled,
}

impl Hint for Error {
    fn interrupted(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::Late { .. }) { Retry::Soon } else { Retry::Never }
    }
}

/// Makes a file if it is not there, and holds it until what is returned is dropped. `waiting` is told once if another
/// holds it, which is waited for.
pub async fn hold(path: &Path, waiting: &(dyn Fn() + Send + Sync), cancel: &CancellationToken) -> Result<File, Error> {
    let refused = |source| Error::Refused { path: path.to_owned(), source };
    let begun = Instant::now();
    let mut told = false;
    loop {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = opened.map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {
                // Whoever held it before may have given it another name, or taken it away.
                let number = |metadata: io::Result<Metadata>| metadata.map(|metadata| metadata.ino()).ok();
                if number(file.metadata()) == number(fs::metadata(path)) {
                    return Ok(file);
                }
                continue;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        if begun.elapsed() >= DEADLINE {
            return Err(Error::Late { path: path.to_owned() });
        }
        if !told {
            waiting();
            told = true;
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = cancel.cancelled() => return Err(Error::Cancelled),
        }
    }
}
