//! The registry that Ollama pulls from: the manifest that a tag resolves to now. Only the manifest is fetched.

use super::answer::{judge, read_all};
use super::error::Error;
use crate::resource::{Bytes, Digest, OllamaName};
use crate::systems::files;
use crate::systems::http::{Client, shown};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// The manifest type that Ollama itself requests.
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A layer of a model: its weights, template, parameters or licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: Bytes,
}

/// A model as its registry serves it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteManifest {
    /// The digest of the manifest, which Ollama reports as the model's digest after a pull.
    pub digest: Digest,
    /// All layers together, as Ollama counts them.
    pub size: Bytes,
    /// The layers, the model's configuration included.
    pub layers: Vec<Layer>,
}

/// Resolves the tag of `name` at its registry. [`Error::NotFound`] means that the model does not exist; any other
/// error leaves that open.
pub async fn manifest(
    client: &Client,
    name: &OllamaName,
    insecure: bool,
    deadline: Duration,
) -> Result<RemoteManifest, Error> {
    let url = name.registry_url(insecure);
    let answered = client.download(&url, None, &[("accept", MANIFEST)], deadline).await;
    let incoming = answered.map_err(|source| Error::Network { url: shown(&url), source })?;
    let mut incoming = judge(incoming, &url, Some(name)).await?;
    let expected =
        incoming.header("docker-content-digest").and_then(|text| Digest::parse(text.strip_prefix("sha256:")?));
    let strange = || Error::Strange { url: url.clone(), expected: "a model's manifest" };
    let body = read_all(&mut incoming, &url, deadline).await?.ok_or_else(strange)?;
    let digest = Digest::of(&body);
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        return Err(Error::Checksum { url, expected, live: digest });
    }
    let layers = layers(&body).ok_or_else(strange)?;
    let size = layers.iter().map(|layer| layer.size.0).try_fold(0_u64, u64::checked_add).ok_or_else(strange)?;
    Ok(RemoteManifest { digest, size: Bytes(size), layers })
}

/// Returns the bytes of a model still to be fetched, where the server's model folder is readable, and otherwise its
/// full size. Ollama stores a layer as `blobs/sha256-<digest>`, whichever model it came with.
#[must_use]
pub fn missing(store: Option<&Path>, remote: &RemoteManifest) -> Bytes {
    let there = |layer: &&Layer| {
        let blob = store.map(|store| store.join("blobs").join(format!("sha256-{}", layer.digest)));
        blob.is_some_and(|blob| matches!(files::stamp(&blob), Ok(Some((size, _))) if size == layer.size))
    };
    Bytes(remote.layers.iter().filter(|layer| !there(layer)).map(|layer| layer.size.0).fold(0, u64::saturating_add))
}

fn layers(body: &[u8]) -> Option<Vec<Layer>> {
    #[derive(Deserialize)]
    struct Manifest {
        config: Option<Blob>,
        layers: Vec<Blob>,
    }
    #[derive(Deserialize)]
    struct Blob {
        digest: String,
        size: Bytes,
    }
    let manifest: Manifest = serde_json::from_slice(body).ok()?;
    let blobs = manifest.layers.into_iter().chain(manifest.config);
    blobs
        .map(|blob| Some(Layer { digest: Digest::parse(blob.digest.strip_prefix("sha256:")?)?, size: blob.size }))
        .collect()
}
