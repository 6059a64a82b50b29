//! An Ollama with scripted answers, by the request and the number of earlier ones.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a stream of lines ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As HTTP wants it.
    Whole,
    /// The connection breaks.
    Cut,
    /// The last line is repeated, as Ollama does while nothing arrives.
    Repeat,
    /// All lines are repeated in turn.
    Cycle,
    /// Nothing more comes.
    Stall,
}

/// One answer.
pub(crate) enum Reply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status that asks to come back after so many seconds.
    Later(u16, u32),
    /// Status 200 and JSON lines.
    Lines(Vec<Value>, End),
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReceivedRequest {
    /// Method and path, such as `POST /api/pull`.
    pub(crate) what: String,
    pub(crate) body: Value,
}

type Answers = Box<dyn Fn(&ReceivedRequest, usize) -> Reply + Send + Sync>;

struct Shared {
    answers: Answers,
    asked: Mutex<Vec<ReceivedRequest>>,
    open: Arc<AtomicUsize>,
}

pub(crate) struct FakeOllama {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl FakeOllama {
    /// Starts it on a free loopback port. `answers` receives the request and the number of earlier equal ones.
    pub(crate) async fn start(answers: impl Fn(&ReceivedRequest, usize) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { answers: Box::new(answers), asked: Mutex::default(), open: Arc::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(reply).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { endpoint, shared, server }
    }

    pub(crate) fn asked(&self) -> Vec<ReceivedRequest> {
        self.shared.asked.lock().expect("no panic").clone()
    }

    /// Returns what was asked, without the bodies.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }

    /// Returns how many streams of lines still have a listener.
    pub(crate) fn open_streams(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for FakeOllama {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Counts a stream for as long as it has a listener.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn reply(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let asked = ReceivedRequest { what, body: serde_json::from_slice(&body).unwrap_or_default() };
    let before = {
        let mut all = shared.asked.lock().expect("no panic");
        all.push(asked.clone());
        all.iter().filter(|other| other.what == asked.what).count() - 1
    };
    let response = match (shared.answers)(&asked, before) {
        Reply::Json(status, body) => Response::builder().status(status).body(Body::from(body.to_string())),
        Reply::Later(status, after) => {
            Response::builder().status(status).header("retry-after", after).body(Body::from("come back later"))
        }
        Reply::Lines(lines, end) => {
            shared.open.fetch_add(1, Ordering::SeqCst);
            let body = stream_of(&lines, end, Open(Arc::clone(&shared.open)));
            Response::builder().header("content-type", "application/x-ndjson").body(body)
        }
    };
    response.expect("a response")
}

fn stream_of(lines: &[Value], end: End, open: Open) -> Body {
    let text: Vec<Bytes> = lines.iter().map(|line| Bytes::from(format!("{line}\n"))).collect();
    let lines = text.clone();
    let said = stream::iter(text.into_iter().map(Ok::<_, std::io::Error>));
    let rest = stream::unfold((open, 0_u32), move |(open, count)| {
        let lines = lines.clone();
        async move {
            crate::clock::pause_async(Duration::from_millis(20)).await;
            let next = match end {
                End::Whole => None,
                End::Cut if count == 0 => Some(Err(std::io::Error::other("cut"))),
                End::Cut => None,
                End::Repeat => lines.last().cloned().map(Ok),
                End::Cycle => lines.get(count as usize % lines.len()).cloned().map(Ok),
                End::Stall => std::future::pending().await,
            };
            next.map(|next| (next, (open, count + 1)))
        }
    });
    Body::from_stream(said.chain(rest))
}
