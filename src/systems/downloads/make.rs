//! Files that a command makes: the same promise as for downloads, whole and checked or not there.

use super::part::{beside, hash, publish};
use super::{Error, Fetched, file_error};
use crate::resource::Digest;
use crate::systems::program;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs;
use tokio_util::sync::CancellationToken;

/// Runs a command that writes a file, and gives the file its name when its digest is right. `{path}` in the command is
/// replaced by a temporary path beside the target, with the same ending.
pub async fn make(
    argv: &[String],
    path: &Path,
    sha256: Option<&Digest>,
    heard: &(dyn Fn(&str) + Send + Sync),
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let _held = super::alone(path, cancel).await?;
    let making = Making(making(path), beside(path, ".part"));
    let argv: Vec<String> = argv.iter().map(|word| word.replace("{path}", &making.0.display().to_string())).collect();
    let what = argv.first().cloned().unwrap_or_default();
    let ended = match program::run(&argv, &[], heard, deadline, cancel).await {
        Ok(ended) => ended,
        Err(program::Error::Cancelled) => return Err(Error::Cancelled),
        Err(source) => return Err(Error::Command { source }),
    };
    if !ended.status.success() {
        return Err(Error::Failed { program: what, status: ended.status, lines: ended.lines });
    }
    let opened = fs::OpenOptions::new().read(true).write(true).open(&making.0).await;
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotMade { program: what, path: path.to_owned(), lines: ended.lines });
        }
        opened => opened.map_err(file_error("open", &making.0))?,
    };
    let (hasher, size) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(Error::Cancelled),
        hashed = hash(&mut file, &making.0, &|_| {}) => hashed?,
    };
    let live = Digest::finish(hasher);
    if let Some(expected) = sha256.filter(|expected| **expected != live) {
        return Err(Error::Checksum { what, expected: expected.clone(), live });
    }
    file.sync_all().await.map_err(file_error("write", &making.0))?;
    publish(&making.0, path).await?;
    Ok(Fetched { sha256: live, size })
}

/// Returns where a command writes before the file has its name.
pub(super) fn making(path: &Path) -> PathBuf {
    path.with_file_name(format!(".making-{}", path.file_name().unwrap_or_default().display()))
}

/// What a command is writing, and what is held meanwhile; a command cannot resume, so nothing of it is kept.
struct Making(PathBuf, PathBuf);

impl Drop for Making {
    fn drop(&mut self) {
        // It is not there when all went well.
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(&self.1);
    }
}
