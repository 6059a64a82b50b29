//! Downloads of large files: resumed after an interruption, verified before they become visible.
//!
//! The bytes go to `NAME.part` beside the target; `NAME.part.json` records the file's version. A file gets its name
//! only when its digest matches. The caller decides what to download and from where.

mod error;
mod make;
mod offer;
mod part;

pub use error::Error;
pub use make::make;

use super::http::Client;
use super::{Hint as _, Retry, exclusive, files};
use crate::resource::{Bytes, Digest};
use error::file_error;
use make::making;
pub use offer::{Offer, hub_offer, offer, read, repository_offer};
pub use part::check_room;
use part::{Part, beside, hash};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A token whose value is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The timeouts and retries of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait for a response's head, and for the next bytes.
    pub stall: Duration,
    /// The number of consecutive attempts that may bring no progress.
    pub tries: u32,
    /// The pause after the first interruption; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause, also when a server asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(120),
        }
    }
}

impl Patience {
    /// Returns the pause after `idle` consecutive attempts without progress, where the server may have asked for one.
    pub(super) fn pause_after(&self, idle: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.pause.saturating_mul(1 << idle.saturating_sub(1).min(16));
        asked.unwrap_or(doubled).min(self.longest_pause)
    }
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The address.
    pub url: String,
    /// The bearer token for the address's host, and for no other.
    pub token: Option<Token>,
    /// The path of the file.
    pub path: PathBuf,
    /// The expected digest.
    pub sha256: Option<Digest>,
    /// The space to keep free on its disk.
    pub keep_free: Bytes,
    /// The timeouts and retries.
    pub patience: Patience,
}

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The bytes received, including those of earlier attempts.
    pub received: u64,
    /// The size of the file, where known.
    pub total: Option<u64>,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A callback that receives progress.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Downloads a file, resuming an earlier attempt. The file appears complete and verified, or not at all.
pub async fn fetch(
    client: &Client,
    download: &Download,
    progress: Tell<'_>,
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let remedy = async {
        let before = files::stamp(&download.path)?;
        let _held = alone(&download.path, cancel).await?;
        if let Some(fetched) = made_meanwhile(download, before).await? {
            return Ok(fetched);
        }
        let mut part = Part::open(download).await?;
        let (mut furthest, mut idle) = (part.size, 0);
        loop {
            let result = part.extend(client, download, progress).await;
            let flushed = part.flush().await;
            let error = match (result, flushed) {
                (Ok(()), Ok(())) => return part.finish(download).await,
                (Err(error), Ok(())) if error.retry() == Retry::Soon => error,
                (Err(error), _) | (Ok(()), Err(error)) => return Err(error),
            };
            idle = if part.size > furthest { 1 } else { idle + 1 };
            furthest = furthest.max(part.size);
            if idle >= download.patience.tries {
                return Err(error);
            }
            let asked = if let Error::Busy { after, .. } = error { after } else { None };
            sleep(download.patience.pause_after(idle, asked)).await;
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        result = remedy => result,
    }
}

/// Waits until no other process writes the same file, which may belong to another stack.
async fn alone(path: &Path, cancel: &CancellationToken) -> Result<std::fs::File, Error> {
    files::create_folder(path.parent().unwrap_or(Path::new("/")))?;
    exclusive::hold(&beside(path, ".part"), &|| {}, cancel).await.map_err(|error| match error {
        exclusive::Error::Cancelled => Error::Cancelled,
        error => Error::Held(error),
    })
}

/// Returns the file that another process has written since `before`, if it is the right one.
async fn made_meanwhile(download: &Download, before: Option<(Bytes, i128)>) -> Result<Option<Fetched>, Error> {
    let path = &download.path;
    if files::stamp(path)?.is_none_or(|now| Some(now) == before) {
        return Ok(None);
    }
    let mut file = fs::File::open(path).await.map_err(file_error("read", path))?;
    let (hasher, size) = hash(&mut file, path, &|_| {}).await?;
    let fetched = Fetched { sha256: Digest::finish(hasher), size };
    if download.sha256.as_ref().is_some_and(|declared| *declared != fetched.sha256) {
        return Ok(None);
    }
    // The locked part no longer belongs to any process.
    discard(path)?;
    Ok(Some(fetched))
}

/// Removes the remains of unfinished attempts beside the target, and the folder if it is otherwise empty.
pub fn discard(path: &Path) -> Result<(), files::Error> {
    let part = beside(path, ".part");
    for left in [beside(&part, ".json"), part, making(path)] {
        files::remove(&left)?;
    }
    if let Some(folder) = path.parent() {
        files::remove_empty_folder(folder);
    }
    Ok(())
}

/// Returns the digest and the size of a file.
pub async fn digest_file(path: &Path, progress: Tell<'_>, cancel: &CancellationToken) -> Result<(Digest, u64), Error> {
    let mut file = fs::File::open(path).await.map_err(file_error("read", path))?;
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        hashed = hash(&mut file, path, progress) => hashed.map(|(hasher, size)| (Digest::finish(hasher), size)),
    }
}
