//! A file server that follows a script: one reply per request, the last one for ever.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use futures_util::stream::{self, StreamExt as _};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the body of a file ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// After the last byte.
    Whole,
    /// After so many bytes the connection breaks.
    Cut(usize),
    /// After so many bytes nothing more comes.
    Stall(usize),
}

/// One reply of the script.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A file, with its version, and whether a range of it may be asked for.
    File { content: Vec<u8>, etag: &'static str, ranges: bool, end: End },
    /// A bare status, with `Retry-After`.
    Status(u16, Option<&'static str>),
    /// Another address.
    Redirect(String),
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
}

pub(crate) struct Files {
    pub(crate) url: String,
    presence: Arc<Mutex<Vec<Presence>>>,
    server: tokio::task::JoinHandle<()>,
}

type Script = Arc<(Mutex<VecDeque<Reply>>, Arc<Mutex<Vec<Presence>>>)>;

impl Files {
    /// Starts a server on a free loopback port.
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let presence = Arc::new(Mutex::new(vec![]));
        let script: Script = Arc::new((Mutex::new(script.into_iter().collect()), Arc::clone(&presence)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/model.gguf", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(reply).with_state(script);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, presence, server }
    }

    pub(crate) fn presence(&self) -> Vec<Presence> {
        self.presence.lock().expect("no panic").clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn reply(State(script): State<Script>, headers: HeaderMap) -> Response<Body> {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
    let presence =
        Presence { range: header("range"), if_range: header("if-range"), authorization: header("authorization") };
    script.1.lock().expect("no panic").push(presence.clone());
    let next = {
        let mut script = script.0.lock().expect("no panic");
        if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
    };
    let response = Response::builder();
    let response = match next.expect("a script has a reply") {
        Reply::Status(status, None) => response.status(status).body(Body::empty()),
        Reply::Status(status, Some(after)) => response.status(status).header("retry-after", after).body(Body::empty()),
        Reply::Redirect(to) => response.status(302).header("location", to).body(Body::empty()),
        Reply::File { content, etag, ranges, end } => {
            let start = presence.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
            let start: Option<usize> = start.and_then(|start| start.parse().ok());
            let start = start.filter(|_| ranges && presence.if_range.as_deref().is_none_or(|version| version == etag));
            let size = content.len();
            let response = response.header("etag", etag);
            match start {
                Some(start) if start >= size => {
                    response.status(416).header("content-range", format!("bytes */{size}")).body(Body::empty())
                }
                Some(start) => response
                    .status(206)
                    .header("content-range", format!("bytes {start}-{}/{size}", size - 1))
                    .header("content-length", size - start)
                    .body(body(content[start..].to_vec(), end)),
                None => response.header("content-length", size).body(body(content, end)),
            }
        }
    };
    response.expect("a response")
}

fn body(content: Vec<u8>, end: End) -> Body {
    let (End::Cut(length) | End::Stall(length)) = end else { return Body::from(content) };
    let first = stream::iter([Ok(Bytes::from(content[..length.min(content.len())].to_vec()))]);
    let last = stream::once(async move {
        // Gives the bytes time to leave before the connection breaks.
        crate::clock::pause_async(Duration::from_millis(50)).await;
        if matches!(end, End::Stall(_)) {
            std::future::pending::<()>().await;
        }
        Err(std::io::Error::other("cut"))
    });
    Body::from_stream(first.chain(last))
}
