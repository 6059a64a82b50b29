//! Looks at what the sources of a manifest lead to now, and at what a pin of them would be.

use crate::lockfile::{Origin, Pin, Source};
use crate::resolve::Facts;
use crate::resource::SecretReference;
use crate::systems::docker::{self, Docker};
use crate::systems::downloads::{self, Offer, OnProgress, Token};
use crate::systems::http::Client;
use crate::systems::{Hint, Retry, files, ollama, secrets};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest wait for a registry or a hub to resolve a source.
const DEADLINE: Duration = Duration::from_secs(30);

/// A failure to resolve a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry gave no answer.
    #[error(transparent)]
    Registry(#[from] ollama::Error),
    /// The container engine, or the registry that it queried, gave no answer.
    #[error(transparent)]
    Image(#[from] docker::Error),
    /// The hub or the address gave no answer.
    #[error(transparent)]
    Download(#[from] downloads::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Download(error) => error.hint(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Registry(error) => error.retry(),
            Self::Image(error) => error.retry(),
            Self::Download(error) => error.retry(),
        }
    }
}

/// The current content of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The server's report of it.
    pub offer: Offer,
    /// The bytes of it that are not on this machine yet.
    pub to_fetch: Option<u64>,
}

/// Asks what a source leads to now. Nothing is fetched.
pub async fn upstream(client: &Client, source: &Source, facts: &Facts) -> Result<Upstream, Error> {
    let token = token(facts);
    let offer = match &source.origin {
        Origin::Ollama { name, insecure } => {
            let remote = ollama::manifest(client, name, *insecure, DEADLINE).await?;
            let store = facts.directories.home.join(".ollama").join("models");
            let to_fetch = Some(ollama::missing(Some(store.as_path()), &remote).0);
            let (sha256, size) = (Some(remote.digest), Some(remote.size.0));
            return Ok(Upstream { offer: Offer { sha256, size, ..Offer::default() }, to_fetch });
        }
        Origin::Hub { repository, file, revision } => {
            let place = (repository.as_str(), file.as_str(), revision.as_deref());
            downloads::hub_offer(client, &facts.hub, place, token.as_ref(), DEADLINE).await?
        }
        Origin::Repository { repository, revision } => {
            let place = (repository.as_str(), revision.as_deref());
            let offer = downloads::repository_offer(client, &facts.hub, place, token.as_ref(), DEADLINE).await?;
            let here = offer.revision.as_ref().is_some_and(|commit| is_in_hub_cache(facts, repository, commit));
            // The share that is already present is unknown.
            let to_fetch = offer.size.filter(|_| !here);
            return Ok(Upstream { offer, to_fetch });
        }
        Origin::Url(url) => downloads::offer(client, url, None, DEADLINE).await?,
        Origin::Image(name) => {
            let docker = Docker::connect().await?;
            let sha256 = docker.remote_digest(name).await?;
            let here = docker.image(&name.at(sha256.clone()).to_string()).await?.is_some();
            let offer = Offer { sha256: Some(sha256), ..Offer::default() };
            return Ok(Upstream { offer, to_fetch: here.then_some(0) });
        }
    };
    let here = offer.sha256.as_ref().is_some_and(|sha256| facts.fetched.values().any(|known| known == sha256));
    let to_fetch = if here { Some(0) } else { offer.size };
    Ok(Upstream { offer, to_fetch })
}

/// Returns the pin of a source's current content. Where only its bytes reveal the digest, they are downloaded.
pub async fn pin(
    client: &Client,
    source: &Source,
    facts: &Facts,
    progress: OnProgress<'_>,
    cancel: &CancellationToken,
) -> Result<Pin, Error> {
    let Upstream { offer, .. } = upstream(client, source, facts).await?;
    let Offer { sha256, mut size, revision, etag } = offer;
    let sha256 = match (sha256, &source.origin) {
        (Some(sha256), _) => sha256,
        (None, origin) => {
            let (url, token) = match origin {
                Origin::Hub { repository, file, .. } => {
                    let (organization, repository) = repository.split_once('/').unwrap_or((repository, ""));
                    let url =
                        crate::render::source::hub_url(&facts.hub, organization, repository, file, revision.as_deref());
                    (url, token(facts))
                }
                Origin::Url(url) => (url.clone(), None),
                Origin::Ollama { name, insecure } => (name.registry_url(*insecure), None),
                // These always report their digest, or are an error.
                Origin::Repository { repository, .. } => (repository.clone(), None),
                Origin::Image(name) => (name.to_string(), None),
            };
            let read = downloads::read(client, &url, token.as_ref(), progress, cancel).await?;
            size = Some(read.size);
            read.sha256
        }
    };
    Ok(Pin { sha256, revision, size, etag })
}

/// Returns whether the hub's own tools have a commit of a repository in their default cache,
/// `~/.cache/huggingface/hub`.
fn is_in_hub_cache(facts: &Facts, repository: &str, commit: &str) -> bool {
    let folder = format!("models--{}", repository.replace('/', "--"));
    let cache = facts.directories.home.join(".cache").join("huggingface").join("hub");
    files::names(&cache.join(folder).join("snapshots").join(commit)).is_ok_and(|names| !names.is_empty())
}

fn token(facts: &Facts) -> Option<Token> {
    let reference = SecretReference::Env("HF_TOKEN".to_owned());
    let secret = facts.hub_token.then(|| secrets::resolve(&reference).ok()).flatten()?;
    Some(Token(secret.reveal().to_owned()))
}
