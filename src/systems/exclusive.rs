//! Exclusive work on a file: a file beside it is locked meanwhile. The kernel releases the lock when its holder dies.

use super::{Hint, Retry};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The polling interval.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest wait for the lock: its holder may be downloading a large file on a slow line.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// A failure to lock a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be created or locked.
    #[error("cannot lock {}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process does not release the lock.
    #[error("another llamero process has locked {} for {} hours", path.display(), DEADLINE.as_secs() / 3600)]
    Late {
        /// The file.
        path: PathBuf,
    },
    /// The operation was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl Hint for Error {
    fn interrupted(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::Late { .. }) { Retry::Soon } else { Retry::of_causes(self) }
    }
}

/// Creates a file if it is missing, and locks it until the returned value is dropped. `waiting` is called once if
/// another process holds the lock.
pub async fn hold(path: &Path, waiting: &(dyn Fn() + Send + Sync), cancel: &CancellationToken) -> Result<File, Error> {
    let refused = |source| Error::Refused { path: path.to_owned(), source };
    let begun = Instant::now();
    let mut reported = false;
    loop {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = opened.map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {
                // The previous holder may have renamed or removed it.
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
        if !reported {
            waiting();
            reported = true;
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = cancel.cancelled() => return Err(Error::Cancelled),
        }
    }
}
