//! A download from its first byte to the verified file.

use super::alone::alone;
use super::body::least;
use super::download::{Download, Fetched, OnProgress};
use super::error::{Error, file_error};
use super::make::making;
use super::part::{Part, beside, hash};
use crate::resource::{Bytes, Digest};
use crate::systems::http::Client;
use crate::systems::{Hint as _, Retry, files};
use std::path::{Path, PathBuf};
use tokio::fs;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Downloads a file, resuming an earlier attempt. The file appears complete and verified, or not at all.
pub async fn fetch(
    client: &Client,
    download: &Download,
    progress: OnProgress<'_>,
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let work = async {
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
            idle = if part.size >= furthest + least(download.patience.stall) { 1 } else { idle + 1 };
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
        result = work => result,
    }
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
    for left in unfinished(path) {
        files::remove(&left)?;
    }
    if let Some(folder) = path.parent() {
        files::remove_empty_folder(folder);
    }
    Ok(())
}

/// Returns whether there is anything of an unfinished download.
#[must_use]
pub fn is_unfinished(path: &Path) -> bool {
    unfinished(path).iter().any(|left| left.exists())
}

fn unfinished(path: &Path) -> [PathBuf; 3] {
    let part = beside(path, ".part");
    [beside(&part, ".json"), part, making(path)]
}

/// Returns the digest and the size of a file.
pub async fn digest_file(
    path: &Path,
    progress: OnProgress<'_>,
    cancel: &CancellationToken,
) -> Result<(Digest, u64), Error> {
    let mut file = fs::File::open(path).await.map_err(file_error("read", path))?;
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        hashed = hash(&mut file, path, progress) => hashed.map(|(hasher, size)| (Digest::finish(hasher), size)),
    }
}
