//! One real request for a model through a gateway, and what its answer means.

use axum::http::StatusCode;
use llamero::engines::Gateway as _;
use llamero::engines::litellm::Litellm;
use llamero::manifest::Mode;
use llamero::resource::{Authorization, Probe, SecretReference};
use llamero::systems::http::Client;
use llamero::systems::listener::{Members, Proven, Sockets, prove_by};
use llamero::systems::openai::{self, ModelRequest};
use llamero::systems::{Hint as _, Retry};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;

fn gateway(endpoint: &str) -> Probe {
    Litellm.probe(endpoint, Vec::new(), Authorization(SecretReference::Env("KEY".to_owned())))
}

/// Proves what this process itself answers.
fn proven(probe: &Probe) -> Proven<'_> {
    prove_by(&Sockets::default(), probe, &Members::Processes([std::process::id()].into())).expect("it listens here")
}

async fn asked(status: u16, group: &'static str, body: Value, mode: Mode) -> Result<(), (String, Retry)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let router =
        axum::Router::new().fallback(move |uri: axum::http::Uri, axum::Json(asked): axum::Json<Value>| async move {
            let right = match uri.path() {
                "/v1/chat/completions" => asked["messages"].is_array(),
                "/v1/completions" => asked["prompt"].is_string(),
                "/v1/embeddings" => asked["input"].is_string(),
                _ => false,
            };
            let alone =
                asked["disable_fallbacks"] == true && asked["cache"]["no-cache"] == true && asked["model"] == "m";
            let status = if right && alone { status } else { 418 };
            (StatusCode::from_u16(status).expect("a status"), [("x-litellm-model-group", group)], body.to_string())
        });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::new().expect("a client");
    let probe = gateway(&endpoint);
    let request = ModelRequest { api: &Litellm.api(), model: "m", mode, token: Some("sk") };
    let result = openai::request(&client, proven(&probe), &request, crate::clock::HANG).await;
    result.map_err(|error| (error.to_string(), error.retry()))
}

#[tokio::test]
async fn a_request_succeeds_only_with_an_answer_of_the_model() {
    for mode in [Mode::Chat, Mode::Completion, Mode::Embedding] {
        assert_eq!(asked(200, "m", json!({}), mode).await, Ok(()));
    }
    let said = |body: &str| json!({ "error": { "message": body } });
    let (why, retry) = asked(404, "m", said("no such model"), Mode::Chat).await.expect_err("refused");
    assert_eq!((why.as_str(), retry), ("a request for `m` was answered with 404: no such model", Retry::Never));
    let (why, retry) = asked(500, "m", said("connection refused"), Mode::Chat).await.expect_err("refused");
    assert_eq!((why.as_str(), retry), ("a request for `m` was answered with 500: connection refused", Retry::Soon));
    let (why, retry) = asked(200, "spare", json!({}), Mode::Chat).await.expect_err("elsewhere");
    assert_eq!((why.as_str(), retry), ("a request for `m` was answered by `spare`", Retry::Never));
}

#[tokio::test]
async fn a_request_without_an_answer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let client = Client::new().expect("a client");
    let probe = gateway(&endpoint);
    let request = ModelRequest { api: &Litellm.api(), model: "m", mode: Mode::Chat, token: None };
    let asked = openai::request(&client, proven(&probe), &request, Duration::from_millis(200)).await;
    assert_eq!(asked.expect_err("late").retry(), Retry::Soon);
}
