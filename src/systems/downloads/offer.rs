//! The current version of a remote file or of a repository on the model hub; nothing is written to disk.

use super::body::Body;
use super::error::{Error, refusal};
use super::{Fetched, OnProgress, Patience, Progress, Token};
use crate::render::source::{hub_api_url, hub_url};
use crate::resource::{Digest, Hasher};
use crate::systems::http::{Client, Incoming, shown};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The current version, as far as the server reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// The digest of the file.
    pub sha256: Option<Digest>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// The commit of the repository.
    pub revision: Option<String>,
    /// The server's strong entity tag: equal tags mean equal bytes.
    pub etag: Option<String>,
}

/// Queries the version of the file at an address.
pub async fn offer(client: &Client, url: &str, token: Option<&Token>, deadline: Duration) -> Result<Offer, Error> {
    // Not a HEAD request: hubs sign the addresses that they redirect to for GET alone.
    let headers = [("range", "bytes=0-0"), ("accept-encoding", "identity")];
    let incoming = ask(client, url, token, &headers, deadline).await?;
    let size = match incoming.status() {
        206 => incoming.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
        _ => incoming.header("content-length").and_then(|length| length.parse().ok()),
    };
    let etag = incoming.header("etag").filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
    Ok(Offer { size, etag, ..Offer::default() })
}

/// A hub's answer about a repository at one of its revisions.
#[derive(Deserialize)]
struct Repository {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

/// A file that the hub keeps in Git LFS, as it does models.
#[derive(Deserialize)]
struct Large {
    sha256: String,
    size: Option<u64>,
}

impl Sibling {
    fn size(&self) -> Option<u64> {
        self.lfs.as_ref().and_then(|large| large.size).or(self.size)
    }
}

/// Queries a hub for the commit of a repository's revision, and for the digest and size of one of its files. The hub
/// reports digests of large files only.
pub async fn hub_offer(
    client: &Client,
    hub: &str,
    (repository, file, revision): (&str, &str, Option<&str>),
    token: Option<&Token>,
    deadline: Duration,
) -> Result<Offer, Error> {
    let known = ask_hub(client, hub, (repository, revision), token, deadline).await?;
    let Some(live) = known.siblings.into_iter().find(|sibling| sibling.rfilename == file) else {
        let (organization, repository) = repository.split_once('/').unwrap_or((repository, ""));
        let url = shown(&hub_url(hub, organization, repository, file, revision));
        return Err(Error::NotFound { url, status: 404 });
    };
    let size = live.size();
    let sha256 = live.lfs.and_then(|large| Digest::parse(&large.sha256));
    Ok(Offer { sha256, size, revision: Some(known.sha), etag: None })
}

/// Queries a hub for the commit of a repository's revision and for all its files: the digest covers the list of files
/// with the digest that the hub reports for each; the size is their sum.
pub async fn repository_offer(
    client: &Client,
    hub: &str,
    place: (&str, Option<&str>),
    token: Option<&Token>,
    deadline: Duration,
) -> Result<Offer, Error> {
    let Repository { sha, mut siblings } = ask_hub(client, hub, place, token, deadline).await?;
    siblings.sort_by(|one, other| one.rfilename.cmp(&other.rfilename));
    let sizes: Option<Vec<u64>> = siblings.iter().map(Sibling::size).collect();
    let size = sizes.and_then(|sizes| sizes.into_iter().try_fold(0, u64::checked_add));
    let mut hasher = Hasher::default();
    for Sibling { rfilename, blob_id, lfs, .. } in &siblings {
        // Where the hub reports no digest of a file, the commit stands in for it.
        let content = lfs.as_ref().map(|large| &large.sha256).or(blob_id.as_ref()).unwrap_or(&sha);
        hasher.update(format!("{content} {rfilename}\n").as_bytes());
    }
    if siblings.is_empty() {
        hasher.update(sha.as_bytes());
    }
    Ok(Offer { sha256: Some(Digest::finish(hasher)), size, revision: Some(sha), etag: None })
}

async fn ask_hub(
    client: &Client,
    hub: &str,
    (repository, revision): (&str, Option<&str>),
    token: Option<&Token>,
    deadline: Duration,
) -> Result<Repository, Error> {
    let url = hub_api_url(hub, repository, revision);
    let mut incoming = ask(client, &url, token, &[("accept", "application/json")], deadline).await?;
    let body = timeout(deadline, incoming.rest()).await;
    let body = body.map_err(|_| Error::Stalled { url: shown(&url), received: 0, waited: deadline })?;
    let body = body.map_err(|source| Error::Network { url: shown(&url), source })?;
    let strange = || Error::Strange { url: shown(&url), expected: "the files of a repository" };
    let known: Option<Repository> = body.and_then(|body| serde_json::from_slice(&body).ok());
    known.filter(|known| is_commit(&known.sha)).ok_or_else(strange)
}

/// Downloads an address to compute its digest, without writing it to disk.
pub async fn read(
    client: &Client,
    url: &str,
    token: Option<&Token>,
    progress: OnProgress<'_>,
    cancel: &CancellationToken,
) -> Result<Fetched, Error> {
    let waited = Patience::default().stall;
    let work = async {
        let incoming = ask(client, url, token, &[("accept-encoding", "identity")], waited).await?;
        if !incoming.is_delimited() {
            return Err(Error::NoLength { url: shown(url) });
        }
        let total = incoming.header("content-length").and_then(|length| length.parse().ok());
        let (mut hasher, mut received) = (Hasher::default(), 0);
        let mut body = Body::new(incoming, shown(url), waited);
        while let Some(bytes) = body.next().await? {
            hasher.update(&bytes);
            received += bytes.len() as u64;
            progress(Progress { received, total });
        }
        match total {
            Some(total) if total != received => Err(Error::Cut { url: shown(url), received, total }),
            _ => Ok(Fetched { sha256: Digest::finish(hasher), size: received }),
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        result = work => result,
    }
}

/// Returns whether a text is a Git commit, with SHA-1 or SHA-256: it becomes part of addresses and of the lock file.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn ask(
    client: &Client,
    url: &str,
    token: Option<&Token>,
    headers: &[(&str, &str)],
    deadline: Duration,
) -> Result<Incoming, Error> {
    let asked = client.download(url, token.map(|token| token.0.as_str()), headers, deadline).await;
    let incoming = asked.map_err(|source| Error::Network { url: shown(url), source })?;
    match incoming.status() {
        200 | 206 => Ok(incoming),
        status => Err(refusal(shown(url), status, &incoming, token.is_some())),
    }
}
