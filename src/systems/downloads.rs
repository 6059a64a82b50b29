//! Model files from the network or from a command: resumed after a break, checked before they become visible.

use super::artifacts::Fetched;
use super::http::Client;
use super::secrets::Secret;
use super::{Hint, Retry, command, files};
use crate::resource::{Bytes, Digest, Hasher};
use reqwest::header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// How often a download is tried again without having got on.
const TRIES: u32 = 5;

/// The wait before the first try again; it doubles with each.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest wait that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest time without a byte.
const STALL: Duration = Duration::from_secs(60);

/// Room that must be left on the disk, in bytes.
const RESERVE: u64 = 64 << 20;

/// The longest that a command may take to make a file.
const COMMAND: Duration = Duration::from_secs(4 * 3600);

/// How far a download is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is there.
    pub received: u64,
    /// All of it, where the server told.
    pub total: Option<u64>,
}

/// What to download.
#[derive(Debug, Clone)]
pub struct Download {
    /// The full address.
    pub url: String,
    /// The token to send to that host, and to no other.
    pub token: Option<Secret>,
    /// Where the file is to be.
    pub path: PathBuf,
    /// What it must be.
    pub sha256: Option<Digest>,
}

/// Why a file was not had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not have it.
    #[error("{url} does not exist (404)")]
    NotFound {
        /// The address.
        url: String,
    },
    /// The server does not give it.
    #[error("{url} is not given without permission ({status})")]
    Denied {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server answers something else.
    #[error("{url} answers {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The bytes are not those that were asked for.
    #[error("what came has the sha256 {found}, not {expected}")]
    Checksum {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// There is no room.
    #[error("{needed} are needed in {}, and {free} are free", folder.display())]
    NoSpace {
        /// The folder.
        folder: PathBuf,
        /// What is needed.
        needed: Bytes,
        /// What is free.
        free: Bytes,
    },
    /// The connection broke again and again.
    #[error("the download of {url} broke off: {why}")]
    Broken {
        /// The address.
        url: String,
        /// What happened last.
        why: String,
    },
    /// The command failed.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// The command made no file.
    #[error("the command ended well and left no file at its {{path}}")]
    NothingMade,
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Somebody stopped it.
    #[error("it was stopped")]
    Stopped,
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("check `source` in the manifest".to_owned()),
            Self::Denied { .. } => Some("set HF_TOKEN, or accept the model's licence on its page".to_owned()),
            Self::Checksum { .. } => Some(
                "correct `sha256` in the manifest if the file was replaced on purpose; nothing was kept".to_owned(),
            ),
            Self::NoSpace { .. } => Some("make room, or set `machine.models.path` in the manifest".to_owned()),
            Self::Broken { .. } => Some("run it again: what came so far is kept, and it goes on from there".to_owned()),
            Self::Files(error) => error.hint(),
            Self::Command(error) => error.hint(),
            _ => None,
        }
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::Broken { .. }) { Retry::Soon } else { Retry::Never }
    }
}

/// Downloads a file.
pub async fn fetch(
    client: &Client,
    download: &Download,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let part = beside(&download.path, "part");
    files::create_folder(part.parent().unwrap_or(Path::new(".")))?;
    let mut tries = 0;
    let mut before = 0;
    let fetched = loop {
        let result = tokio::select! {
            result = attempt(client, download, &part, progress) => result,
            () = cancel.cancelled() => return Err(Error::Stopped),
        };
        match result {
            Ok(fetched) => break fetched,
            Err((error, wait)) => {
                let now = size_of(&part);
                tries = if now > before { 1 } else { tries + 1 };
                before = now;
                if error.retry() == Retry::Never || tries >= TRIES {
                    return Err(error);
                }
                let pause = wait.unwrap_or(PAUSE * 2_u32.pow(tries - 1)).min(LONGEST_PAUSE);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = cancel.cancelled() => return Err(Error::Stopped),
                }
            }
        }
    };
    show(&part, &download.path, fetched, download.sha256.as_ref())
}

/// Makes a file visible once it is known to be the right one.
fn show(part: &Path, path: &Path, fetched: Fetched, expected: Option<&Digest>) -> Result<Fetched, Error> {
    let tag = beside(path, "part.tag");
    if let Some(expected) = expected.filter(|expected| **expected != fetched.sha256) {
        files::remove(part)?;
        files::remove(&tag)?;
        return Err(Error::Checksum { expected: expected.clone(), found: fetched.sha256 });
    }
    files::publish(part, path)?;
    files::remove(&tag)?;
    Ok(fetched)
}

type Attempt<T> = Result<T, (Error, Option<Duration>)>;

async fn attempt(
    client: &Client,
    download: &Download,
    part: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Attempt<Fetched> {
    let final_error = |error: files::Error| (Error::Files(error), None);
    let tag = beside(&download.path, "part.tag");
    let known = files::read(&tag, 4096).map_err(final_error)?;
    // Without the server's mark of the file's version, what is there might belong to another.
    let have = if known.is_some() { size_of(part) } else { 0 };
    let mut request = client.remote.get(&download.url);
    if let Some(token) = &download.token {
        // The client drops it when it is sent on to another host.
        request = request.bearer_auth(token.expose());
    }
    if let (Some(known), true) = (&known, have > 0) {
        request = request.header(RANGE, format!("bytes={have}-")).header(IF_RANGE, known);
    }
    let broken = |why: String| (Error::Broken { url: download.url.clone(), why }, None);
    let sent = tokio::time::timeout(STALL, request.send()).await;
    let response = sent.map_err(|_| broken("no answer came".into()))?.map_err(|error| broken(cause(&error)))?;
    let from = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT => have,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            files::remove(part).map_err(final_error)?;
            return Err(broken("the server has fewer bytes than were kept".into()));
        }
        status => return Err(refused(download, status, &response)),
    };
    let total = response.content_length().map(|rest| from + rest);
    let folder = download.path.parent().unwrap_or(Path::new("."));
    if let (Some(total), Some(free)) = (total, files::free_space(folder)) {
        let needed = total - from + RESERVE;
        if needed > free {
            let (needed, free) = (Bytes(needed), Bytes(free));
            return Err((Error::NoSpace { folder: folder.to_owned(), needed, free }, None));
        }
    }
    let version = [ETAG, LAST_MODIFIED].into_iter().find_map(|name| response.headers().get(name)?.to_str().ok());
    match version.filter(|version| !version.starts_with("W/")) {
        Some(version) => files::write(&tag, version.as_bytes(), files::PRIVATE).map_err(final_error)?,
        None => files::remove(&tag).map_err(final_error)?,
    }
    receive(response, part, from, total, progress).await.map_err(|error| match error {
        Receive::Files(error) => final_error(error),
        Receive::Broken(why) => broken(why),
    })
}

fn refused(download: &Download, status: StatusCode, response: &Response) -> (Error, Option<Duration>) {
    let url = download.url.clone();
    match status.as_u16() {
        404 | 410 => (Error::NotFound { url }, None),
        status @ (401 | 403) => (Error::Denied { url, status }, None),
        429 | 500..=599 => {
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            (Error::Broken { url, why: format!("it answers {status}") }, wait.map(Duration::from_secs))
        }
        status => (Error::Status { url, status }, None),
    }
}

enum Receive {
    Files(files::Error),
    Broken(String),
}

async fn receive(
    mut response: Response,
    part: &Path,
    from: u64,
    total: Option<u64>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Fetched, Receive> {
    let io = |error| Receive::Files(files::Error::io("write", part, error));
    let mut hasher = Hasher::default();
    let mut file = files::open_part(part, from, &mut hasher).map(tokio::fs::File::from_std).map_err(Receive::Files)?;
    let mut received = from;
    progress(Progress { received, total });
    loop {
        let chunk = tokio::time::timeout(STALL, response.chunk()).await;
        let chunk = chunk.map_err(|_| Receive::Broken(format!("no byte came for {} s", STALL.as_secs())))?;
        let Some(chunk) = chunk.map_err(|error| Receive::Broken(cause(&error)))? else { break };
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(io)?;
        received += chunk.len() as u64;
        progress(Progress { received, total });
    }
    file.flush().await.map_err(io)?;
    if total.is_some_and(|total| total != received) {
        return Err(Receive::Broken(format!("it ended after {received} bytes")));
    }
    Ok(Fetched { sha256: Digest::finish(hasher), size: received })
}

/// Computes the digest of a file that is there.
pub async fn digest_file(
    path: &Path,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let failed = |error| Error::Files(files::Error::io("read", path, error));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let total = file.seek(SeekFrom::End(0)).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(Fetched { sha256: Digest::finish(hasher), size: received });
        }
        hasher.update(&buffer[..count]);
        received += count as u64;
        progress(Progress { received, total: Some(total) });
        if cancel.is_cancelled() {
            return Err(Error::Stopped);
        }
        // A long file must not keep others from going on.
        tokio::task::yield_now().await;
    }
}

/// Has a command make a file: `{path}` in it is replaced by a name that only becomes the file's own when it is right.
pub async fn make(
    argv: &[String],
    path: &Path,
    sha256: Option<&Digest>,
    note: &(dyn Fn(&str) + Sync),
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let part = beside(path, "made");
    files::create_folder(part.parent().unwrap_or(Path::new(".")))?;
    files::remove(&part)?;
    let argv: Vec<String> = argv.iter().map(|word| word.replace("{path}", &part.to_string_lossy())).collect();
    command::run(&argv, &[], COMMAND, note, cancel).await?;
    if files::stamp(&part)?.is_none() {
        return Err(Error::NothingMade);
    }
    let fetched = digest_file(&part, &|_| {}, cancel).await?;
    show(&part, path, fetched, sha256)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

fn size_of(path: &Path) -> u64 {
    files::stamp(path).ok().flatten().map_or(0, |(size, _)| size)
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
