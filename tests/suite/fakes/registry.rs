//! A model registry that a real Ollama pulls from, with failures on demand.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response};
use futures_util::stream;
use llamero::resource::Digest;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PIECE: usize = 64 << 10;

#[derive(Default)]
struct Shared {
    manifests: Mutex<BTreeMap<String, Vec<u8>>>,
    blobs: Mutex<BTreeMap<String, Bytes>>,
    ranges: Mutex<Vec<String>>,
    refusal: AtomicU16,
    pause: AtomicU64,
    lie: Mutex<Option<Digest>>,
}

pub(crate) struct Registry {
    /// Host and port, as they stand in a model's name.
    pub(crate) host: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Registry {
    /// Starts an empty registry on a free loopback port.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let router = axum::Router::new().fallback(reply).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { host, shared, server }
    }

    /// Publishes a model of these weights under `namespace/model` and a tag, which moves if it was there.
    pub(crate) fn publish(&self, path: &str, tag: &str, weights: &[u8]) -> Digest {
        let config = json!({"model_format": "gguf", "model_family": "test"}).to_string();
        let model = self.keep(weights.to_vec(), "application/vnd.ollama.image.model");
        let config = self.keep(config.into_bytes(), "application/vnd.docker.container.image.v1+json");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config,
            "layers": [model],
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        let key = format!("/v2/{path}/manifests/{tag}");
        self.shared.manifests.lock().expect("no panic").insert(key, manifest);
        digest
    }

    /// Replaces the bytes behind a digest by others of the same length.
    pub(crate) fn corrupt(&self, digest: &Digest) {
        let mut blobs = self.shared.blobs.lock().expect("no panic");
        let blob = blobs.get_mut(&format!("sha256:{digest}")).expect("a blob");
        *blob = blob.iter().map(|byte| !byte).collect();
    }

    /// Answers every request with this status from now on; 0 ends it.
    pub(crate) fn refuse(&self, status: u16) {
        self.shared.refusal.store(status, Ordering::SeqCst);
    }

    /// Pauses so many milliseconds before each 64 KiB of a layer.
    pub(crate) fn slow_down(&self, milliseconds: u64) {
        self.shared.pause.store(milliseconds, Ordering::SeqCst);
    }

    /// Calls every manifest by this digest from now on.
    pub(crate) fn lie(&self, digest: Digest) {
        *self.shared.lie.lock().expect("no panic") = Some(digest);
    }

    /// Returns the ranges that were asked for, in order.
    pub(crate) fn ranges(&self) -> Vec<String> {
        self.shared.ranges.lock().expect("no panic").clone()
    }

    fn keep(&self, content: Vec<u8>, media_type: &str) -> serde_json::Value {
        let (digest, size) = (format!("sha256:{}", Digest::of(&content)), content.len());
        self.shared.blobs.lock().expect("no panic").insert(digest.clone(), content.into());
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn reply(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let response = Response::builder();
    let refusal = shared.refusal.load(Ordering::SeqCst);
    if refusal != 0 {
        return response.status(refusal).header("retry-after", 7).body(Body::from("not now")).expect("a response");
    }
    let manifest = shared.manifests.lock().expect("no panic").get(&path).cloned();
    if let Some(manifest) = manifest {
        let lie = shared.lie.lock().expect("no panic").clone();
        let digest = lie.unwrap_or_else(|| Digest::of(&manifest));
        let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(accept.contains("application/vnd.docker.distribution.manifest.v2+json"), "{accept}");
        let response = response.header("docker-content-digest", format!("sha256:{digest}"));
        return response.body(Body::from(manifest)).expect("a response");
    }
    let blob = path.rsplit('/').next().and_then(|name| shared.blobs.lock().expect("no panic").get(name).cloned());
    let Some(blob) = blob else {
        return response.status(404).body(Body::from(r#"{"errors":[{"code":"UNKNOWN"}]}"#)).expect("a response");
    };
    let range = request.headers().get("range").map(|value| value.to_str().expect("text").to_owned());
    let bounds = range.as_deref().and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let first: usize = first.parse().ok()?;
        Some((first, last.parse::<usize>().map_or(blob.len(), |last| last + 1).min(blob.len())))
    });
    // Ollama asks each layer's address where it lives, also when that is here.
    let response = response.header("location", &path);
    let (response, part) = match bounds {
        Some((first, end)) if first < end => {
            let content_range = format!("bytes {first}-{}/{}", end - 1, blob.len());
            (response.status(206).header("content-range", content_range), blob.slice(first..end))
        }
        _ => (response, blob),
    };
    let response = response.header("content-length", part.len());
    if request.method() == Method::HEAD {
        return response.body(Body::empty()).expect("a response");
    }
    shared.ranges.lock().expect("no panic").extend(range);
    response.body(slowly(part, shared)).expect("a response")
}

fn slowly(part: Bytes, shared: Arc<Shared>) -> Body {
    let pieces = stream::unfold(part, move |mut rest| {
        let pause = shared.pause.load(Ordering::SeqCst);
        async move {
            if pause > 0 {
                crate::clock::pause_async(Duration::from_millis(pause)).await;
            }
            let piece = rest.split_to(rest.len().min(PIECE));
            (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), rest))
        }
    });
    Body::from_stream(pieces)
}
