//! A server that speaks OpenAI's chat completions and takes its time: `max_tokens` words, one in every so often where a
//! stream is asked for, all at once otherwise.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::routing::post;
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a stream waits before each word.
pub(crate) const PACE: Duration = Duration::from_millis(250);

/// Returns what is said in so many words.
pub(crate) fn said(words: u64) -> String {
    (0..words).map(|word| format!("word{word} ")).collect()
}

/// The model that it does not answer for.
pub(crate) const BROKEN: &str = "broken";

/// When which model was asked for.
type Asked = Arc<Mutex<Vec<(Instant, String)>>>;

pub(crate) struct FakeUpstream {
    pub(crate) endpoint: String,
    asked: Asked,
    server: tokio::task::JoinHandle<()>,
}

impl FakeUpstream {
    /// Starts it on a free loopback port.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let asked = Asked::default();
        let router = axum::Router::new().route("/v1/chat/completions", post(complete)).with_state(Arc::clone(&asked));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { endpoint, asked, server }
    }

    /// Returns when it was asked for a model.
    pub(crate) fn asked_for(&self, model: &str) -> Vec<Instant> {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|(_, name)| name == model).map(|(at, _)| *at).collect()
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn complete(State(all): State<Asked>, Json(asked): Json<Value>) -> Response<Body> {
    let model = asked["model"].as_str().unwrap_or_default();
    all.lock().expect("no panic").push((Instant::now(), model.to_owned()));
    if model == BROKEN {
        let why = json!({ "error": { "message": "out of order", "type": "server_error" } });
        return Response::builder().status(500).body(Body::from(why.to_string())).expect("a response");
    }
    let words = asked["max_tokens"].as_u64().unwrap_or(1);
    let head = json!({ "id": "fake", "created": 1, "model": asked["model"] });
    let with = |object: &str, choice: Value| {
        let mut whole = head.clone();
        whole["object"] = object.into();
        whole["choices"] = json!([choice]);
        whole
    };
    if asked["stream"] != true {
        let message = json!({ "role": "assistant", "content": said(words) });
        let mut whole = with("chat.completion", json!({ "index": 0, "message": message, "finish_reason": "stop" }));
        whole["usage"] = json!({ "prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1 });
        return Response::builder()
            .header("content-type", "application/json")
            .body(Body::from(whole.to_string()))
            .expect("a response");
    }
    let chunk = |delta: Value, reason: Value| {
        with("chat.completion.chunk", json!({ "index": 0, "delta": delta, "finish_reason": reason })).to_string()
    };
    let mut events: Vec<String> =
        (0..words).map(|word| chunk(json!({ "content": format!("word{word} ") }), Value::Null)).collect();
    events.push(chunk(json!({}), "stop".into()));
    events.push("[DONE]".to_owned());
    let paced = stream::unfold(events.into_iter(), async |mut events| {
        let event = events.next()?;
        if event != "[DONE]" {
            crate::clock::pause_async(PACE).await;
        }
        Some((Ok::<_, Infallible>(format!("data: {event}\n\n")), events))
    });
    Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(paced)).expect("a response")
}
