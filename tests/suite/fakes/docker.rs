//! A container engine on a socket with scripted answers, for failures that real ones do not show on demand.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// How a stream of lines ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As HTTP wants it.
    Whole,
    /// The connection breaks.
    Cut,
    /// Nothing more comes.
    Stall,
}

/// One answer.
pub(crate) enum Reply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status and nothing.
    Nothing(u16),
    /// A status and words that are no JSON.
    Text(u16, &'static str),
    /// Status 200 and JSON lines, one after the other.
    Lines(Vec<Value>, End),
    /// No answer at all.
    Silence,
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReceivedRequest {
    /// Method and path, without the API's version: `POST /containers/create`.
    pub(crate) what: String,
    /// The API's version in the path.
    pub(crate) version: Option<String>,
    /// The query as it stands.
    pub(crate) query: String,
    /// The credentials that came along.
    pub(crate) credentials: Option<String>,
    pub(crate) body: Value,
}

type Answers = Box<dyn Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync>;

struct Shared {
    answers: Answers,
    podman: bool,
    api: &'static str,
    asked: Mutex<Vec<ReceivedRequest>>,
}

pub(crate) struct FakeDocker {
    folder: TempDir,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl FakeDocker {
    /// Starts a Docker of Debian's age. What `answers` leaves out is answered as by an engine without anything.
    pub(crate) fn start(answers: impl Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::serve(false, "1.41", Box::new(answers))
    }

    /// Starts a Podman.
    pub(crate) fn podman(answers: impl Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::serve(true, "1.41", Box::new(answers))
    }

    /// Starts a Docker that speaks another version.
    pub(crate) fn speaking(api: &'static str) -> Self {
        Self::serve(false, api, Box::new(|_| None))
    }

    fn serve(podman: bool, api: &'static str, answers: Answers) -> Self {
        let folder = crate::folder();
        let shared = Arc::new(Shared { answers, podman, api, asked: Mutex::default() });
        let listener = tokio::net::UnixListener::bind(folder.path().join("docker.sock")).expect("a socket");
        let router = axum::Router::new().fallback(reply).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { folder, shared, server }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Returns the folder in which a client looks for its configuration.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn asked(&self) -> Vec<ReceivedRequest> {
        self.shared.asked.lock().expect("no panic").clone()
    }

    /// Returns what was asked after the connection was made, without the bodies.
    pub(crate) fn calls(&self) -> Vec<String> {
        let asked = self.asked().into_iter().map(|asked| asked.what);
        asked.filter(|what| !matches!(what.as_str(), "GET /version" | "GET /info")).collect()
    }
}

impl Drop for FakeDocker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn reply(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path();
    let (version, path) = match path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
        Some((version, rest)) if version.starts_with("1.") => (Some(version.to_owned()), format!("/{rest}")),
        _ => (None, path.to_owned()),
    };
    let what = format!("{} {path}", request.method());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let credentials = request.headers().get("x-registry-auth").and_then(|it| it.to_str().ok()).map(str::to_owned);
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let asked =
        ReceivedRequest { what, version, query, credentials, body: serde_json::from_slice(&body).unwrap_or_default() };
    shared.asked.lock().expect("no panic").push(asked.clone());
    let says = (shared.answers)(&asked).unwrap_or_else(|| usual(&shared, &asked));
    let response = match says {
        Reply::Json(status, body) => Response::builder().status(status).body(Body::from(body.to_string())),
        Reply::Nothing(status) => Response::builder().status(status).body(Body::empty()),
        Reply::Text(status, text) => Response::builder().status(status).body(Body::from(text)),
        Reply::Lines(lines, end) => Response::builder().body(stream_of(&lines, end)),
        Reply::Silence => std::future::pending().await,
    };
    response.expect("a response")
}

fn usual(shared: &Shared, asked: &ReceivedRequest) -> Reply {
    let engine = if shared.podman { "Podman Engine" } else { "Engine" };
    match asked.what.as_str() {
        "GET /version" => Reply::Json(
            200,
            json!({"Version": "4.3.1", "ApiVersion": shared.api, "Components": [{"Name": engine, "Version": "4.3.1"}]}),
        ),
        "GET /info" => Reply::Json(200, json!({"SecurityOptions": ["name=seccomp,profile=default"]})),
        "GET /containers/json" | "GET /images/json" => Reply::Json(200, json!([])),
        _ => Reply::Json(404, json!({"message": "no such thing"})),
    }
}

fn stream_of(lines: &[Value], end: End) -> Body {
    let text: Vec<Bytes> = lines.iter().map(|line| Bytes::from(format!("{line}\r\n"))).collect();
    let said = stream::iter(text.into_iter().map(Ok::<_, std::io::Error>)).then(async |line| {
        crate::clock::pause_async(Duration::from_millis(5)).await;
        line
    });
    let rest = stream::unfold(0, move |count| async move {
        match end {
            End::Whole => None,
            End::Cut => (count == 0).then(|| (Err(std::io::Error::other("cut")), 1)),
            End::Stall => std::future::pending().await,
        }
    });
    Body::from_stream(said.chain(rest))
}
