//! The partial file of a download.

use super::body::Body;
use super::download::{Download, Fetched, OnProgress, Progress};
use super::error::{Error, file_error, refusal};
use crate::resource::{Bytes, Digest, Hasher};
use crate::systems::http::{Client, Incoming, shown};
use crate::systems::{files, proc};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

const BUFFER: usize = 1 << 20;

/// The partial file, with the version of the file it belongs to.
pub(super) struct Part {
    path: PathBuf,
    file: fs::File,
    buffer: Vec<u8>,
    hasher: Hasher,
    pub(super) size: u64,
    version: Option<String>,
    keep_free: Bytes,
}

/// The record kept beside a partial file.
#[derive(Serialize, Deserialize)]
struct Record {
    url: String,
    /// A strong `ETag`, or `Last-Modified`: what `If-Range` may carry (RFC 9110, 13.1.5).
    version: Option<String>,
    /// The boot of the machine in which its bytes were written.
    #[serde(default)]
    boot: Option<String>,
}

impl Record {
    /// Returns whether a download can resume at the end of the part. A part is not synced while it grows: a power cut
    /// may lose some of its middle, which only a digest would detect.
    fn is_resumable(&self, download: &Download) -> bool {
        let sure = download.sha256.is_some() || self.boot.is_some() && self.boot == proc::boot();
        self.url == shown(&download.url) && self.version.is_some() && sure
    }
}

impl Part {
    /// Opens the partial file of an earlier attempt; one that cannot be resumed is emptied.
    pub(super) async fn open(download: &Download) -> Result<Self, Error> {
        let path = beside(&download.path, ".part");
        files::create_folder(download.path.parent().unwrap_or(Path::new("/")))?;
        let file = private().truncate(false).read(true).open(&path).await.map_err(file_error("open", &path))?;
        let keep_free = download.keep_free;
        let (hasher, buffer) = (Hasher::default(), vec![]);
        let mut part = Self { path, file, buffer, hasher, size: 0, version: None, keep_free };
        let record = fs::read(beside(&part.path, ".json")).await.ok();
        let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        match record.filter(|record| record.is_resumable(download)) {
            Some(record) => {
                part.version = record.version;
                (part.hasher, part.size) = hash(&mut part.file, &part.path, &|_| {}).await?;
            }
            None => part.empty().await?,
        }
        Ok(part)
    }

    async fn empty(&mut self) -> Result<(), Error> {
        self.buffer.clear();
        self.hasher = Hasher::default();
        self.size = 0;
        self.version = None;
        self.file.set_len(0).await.map_err(file_error("empty", &self.path))?;
        self.file.rewind().await.map_err(file_error("empty", &self.path))?;
        Ok(())
    }

    /// Requests the rest once, and appends the bytes received.
    pub(super) async fn extend(
        &mut self,
        client: &Client,
        download: &Download,
        progress: OnProgress<'_>,
    ) -> Result<(), Error> {
        let range = format!("bytes={}-", self.size);
        let mut headers = vec![("accept-encoding", "identity")];
        let version = self.version.clone().filter(|_| self.size > 0);
        if let Some(version) = &version {
            headers.extend([("range", range.as_str()), ("if-range", version.as_str())]);
        }
        let url = shown(&download.url);
        let token = download.token.as_ref().map(|token| token.0.as_str());
        let answered = client.download(&download.url, token, &headers, download.patience.stall).await;
        let incoming = answered.map_err(|source| Error::Network { url: url.clone(), source })?;
        let total = match incoming.status() {
            200 => {
                self.empty().await?;
                self.remember(&incoming, &url).await?;
                incoming.header("content-length").and_then(|length| length.parse().ok())
            }
            206 if version.is_some() => match content_range(&incoming) {
                Some((start, total)) if start == self.size => total,
                _ => return self.start_afresh(url, 206).await,
            },
            // The part is already complete: an earlier attempt ended just before its verification.
            416 if version.is_some() && incoming.header("content-range") == Some(&format!("bytes */{}", self.size)) => {
                return Ok(());
            }
            416 if version.is_some() => return self.start_afresh(url, 416).await,
            status => return Err(refusal(url, status, &incoming, download.token.is_some())),
        };
        if total.is_none() && download.sha256.is_none() && !incoming.is_delimited() {
            return Err(Error::NoLength { url });
        }
        let needed = Bytes(total.unwrap_or(self.size).saturating_sub(self.size));
        check_room(&download.path, needed, download.keep_free)?;
        progress(Progress { received: self.size, total });
        let mut body = Body::new(incoming, url.clone(), download.patience.stall);
        while let Some(bytes) = body.next().await? {
            self.take(&bytes).await?;
            progress(Progress { received: self.size, total });
        }
        match total {
            Some(total) if total != self.size => Err(Error::Cut { url, received: self.size, total }),
            _ => Ok(()),
        }
    }

    /// Discards the part, because the server cannot resume it.
    async fn start_afresh(&mut self, url: String, status: u16) -> Result<(), Error> {
        self.empty().await?;
        Err(Error::Busy { url, status, after: Some(Duration::ZERO) })
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        // The length that the server announced is not relied on.
        let room = check_room(&self.path, Bytes(self.buffer.len() as u64), self.keep_free);
        if room.is_err() {
            self.buffer.clear();
        }
        room?;
        let written = self.file.write_all(&self.buffer).await;
        self.buffer.clear();
        written.map_err(file_error("write", &self.path))?;
        self.file.flush().await.map_err(file_error("write", &self.path))
    }

    /// Records the version of the file before the part's first byte is written.
    async fn remember(&mut self, incoming: &Incoming, url: &str) -> Result<(), Error> {
        let etag = incoming.header("etag").filter(|etag| !etag.starts_with("W/"));
        self.version = etag.or_else(|| incoming.header("last-modified")).map(str::to_owned);
        let record = Record { url: url.to_owned(), version: self.version.clone(), boot: proc::boot() };
        let path = beside(&self.path, ".json");
        let text = serde_json::to_vec(&record).expect("two strings are JSON");
        let written = async {
            let mut file = private().truncate(true).open(&path).await?;
            file.write_all(&text).await?;
            file.flush().await
        };
        written.await.map_err(file_error("write", &path))
    }

    pub(super) async fn finish(self, download: &Download) -> Result<Fetched, Error> {
        let fetched = Fetched { sha256: Digest::finish(self.hasher), size: self.size };
        let record = beside(&self.path, ".json");
        if let Some(expected) = download.sha256.as_ref().filter(|expected| **expected != fetched.sha256) {
            for path in [&self.path, &record] {
                fs::remove_file(path).await.map_err(file_error("remove", path))?;
            }
            let what = shown(&download.url);
            return Err(Error::Checksum { what, expected: expected.clone(), live: fetched.sha256 });
        }
        self.file.sync_all().await.map_err(file_error("write", &self.path))?;
        publish(&self.path, &download.path).await?;
        // Without its part the record is meaningless; the next download overwrites it.
        let _ = fs::remove_file(&record).await;
        Ok(fetched)
    }
}

/// Feeds a file from its start to a hasher; its position is then at the end. Hashing runs on the blocking thread
/// pool.
pub(super) async fn hash(file: &mut fs::File, path: &Path, progress: OnProgress<'_>) -> Result<(Hasher, u64), Error> {
    let total = file.metadata().await.map_err(file_error("read", path))?.len();
    let (mut hasher, mut size, mut buffer) = (Hasher::default(), 0, Vec::with_capacity(BUFFER));
    loop {
        buffer.clear();
        let read = file.take(BUFFER as u64).read_to_end(&mut buffer).await.map_err(file_error("read", path))?;
        if read == 0 {
            return Ok((hasher, size));
        }
        let task = tokio::task::spawn_blocking(move || {
            hasher.update(&buffer);
            (hasher, buffer)
        });
        (hasher, buffer) = task.await.map_err(|_| Error::Cancelled)?;
        size += read as u64;
        progress(Progress { received: size, total: Some(total) });
    }
}

/// Renames a finished file into place, durably.
pub(super) async fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    files::check_replaceable(to)?;
    fs::rename(from, to).await.map_err(file_error("rename to", to))?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    let synced = async { fs::File::open(folder).await?.sync_all().await };
    synced.await.map_err(file_error("write the folder", folder))
}

/// Returns the path with `ending` after its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

fn content_range(incoming: &Incoming) -> Option<(u64, Option<u64>)> {
    let (range, total) = incoming.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// Fails if `needed` bytes at `path` would not leave `keep_free` on its disk. A disk that does not report its free
/// space is not checked.
pub fn check_room(path: &Path, needed: Bytes, keep_free: Bytes) -> Result<(), Error> {
    let there = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let Ok(disk) = rustix::fs::statvfs(there) else { return Ok(()) };
    let free = Bytes(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(keep_free.0));
    if needed <= free {
        return Ok(());
    }
    Err(Error::NoSpace { path: path.to_owned(), needed, free })
}
