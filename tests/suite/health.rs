//! Probes against servers that answer correctly, wrongly, slowly and not at all.

use crate::clock::{ends, until_async};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use llamero::engines::litellm::Litellm;
use llamero::engines::llama_cpp::LlamaCpp;
use llamero::engines::vllm::Vllm;
use llamero::engines::{Gateway as _, Provider as _};
use llamero::resource::{
    Accepts, Authorization, Bytes, Health, HttpCheck, HttpProbe, Probe, RespProbe, SecretReference,
};
use llamero::systems::health::ask;
use llamero::systems::http::Client;
use llamero::systems::listener::{Members, Sockets, prove_by};
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// llama-server's answer on every path until its model is loaded.
const LOADING: &str = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;

type Answers = fn(&str, Option<&str>) -> (u16, &'static str);

/// Starts an HTTP server that answers by path and authorization, and returns its address.
async fn server(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().fallback(move |request: Request| async move {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (status, body) = answers(request.uri().path(), authorization);
        (StatusCode::from_u16(status).expect("a status"), [(header::LOCATION, "/elsewhere")], body)
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    endpoint
}

/// Asks a server that this process is.
async fn ask_here(client: &Client, probe: &Probe, token: Option<&str>) -> Health {
    let here = Members::Processes([std::process::id()].into());
    match prove_by(&Sockets::default(), probe, &here) {
        Ok(proven) => ask(client, proven, token).await,
        Err(unproven) => unproven.health(probe),
    }
}

async fn asked(probe: &Probe, token: Option<&str>) -> String {
    ask_here(&Client::new().expect("a client"), probe, token).await.to_string()
}

fn plain(endpoint: String, path: &str) -> Probe {
    let check = HttpCheck { accepts: Accepts::NoError, ..HttpCheck::of(path) };
    Probe::Http(HttpProbe { endpoint, checks: vec![check], models: None, authorization: None })
}

fn resp(port: u16, memory: Option<Bytes>) -> Probe {
    match memory {
        Some(memory) => Probe::Resp(RespProbe { port, sizes: [("maxmemory".to_owned(), memory)].into() }),
        None => Probe::Resp(RespProbe { port, sizes: [].into() }),
    }
}

async fn litellm(answers: Answers) -> String {
    let authorization = Authorization(SecretReference::Env("KEY".to_owned()));
    let models = ["chat", "embed"].map(str::to_owned).to_vec();
    asked(&Litellm.probe(&server(answers).await, models, authorization), Some("sk-1")).await
}

async fn vllm(answers: Answers) -> String {
    asked(&Vllm.probe(&server(answers).await, Some("qwen3")), None).await
}

async fn llama_cpp(answers: Answers) -> String {
    asked(&LlamaCpp.probe(&server(answers).await, Some("qwen3")), None).await
}

#[tokio::test]
async fn litellm_must_offer_exactly_what_was_intended() {
    let healthy = litellm(|path, authorization| match (path, authorization) {
        ("/health/readiness", None) => (200, r#"{"status":"healthy"}"#),
        ("/v1/models", Some("Bearer sk-1")) => (200, r#"{"data":[{"id":"embed"},{"id":"chat"}]}"#),
        _ => (500, "asked for something else"),
    });
    assert_eq!(healthy.await, "healthy");
    let others = litellm(|path, _| match path {
        "/v1/models" => (200, r#"{"data":[{"id":"chat"},{"id":"old"}]}"#),
        _ => (200, "{}"),
    });
    let reported = "unhealthy: the models it offers are not those asked for: missing `embed`; surplus `old`";
    assert_eq!(others.await, reported);
    let stopping = litellm(|_, _| (503, r#"{"status":"shutting down"}"#)).await;
    assert_eq!(stopping, "unhealthy: /health/readiness answers 503: shutting down");
}

#[tokio::test]
async fn a_key_that_litellm_does_not_accept_is_named() {
    let without_database = litellm(|path, _| match path {
        "/v1/models" => (400, r#"{"error":{"message":"No connected db.","code":"400"}}"#),
        _ => (200, "{}"),
    });
    assert_eq!(without_database.await, "unhealthy: the key is not accepted (400 from /v1/models)");
    let with_database = litellm(|path, _| if path == "/v1/models" { (401, "{}") } else { (200, "{}") });
    assert_eq!(with_database.await, "unhealthy: the key is not accepted (401 from /v1/models)");
    let other = litellm(|path, _| if path == "/v1/models" { (400, r#"{"detail":"bad"}"#) } else { (200, "{}") });
    assert_eq!(other.await, "unhealthy: /v1/models answers 400: bad");
}

#[tokio::test]
async fn llama_cpp_loads_then_offers_its_model() {
    let loading = llama_cpp(|_, _| (503, LOADING));
    assert_eq!(loading.await, "loading: the model is loading");
    let healthy = llama_cpp(|path, _| match path {
        "/v1/models" => (200, r#"{"data":[{"id":"qwen3"}]}"#),
        _ => (200, r#"{"status":"ok"}"#),
    });
    assert_eq!(healthy.await, "healthy");
    let other = llama_cpp(|path, _| if path == "/health" { (200, "{}") } else { (200, r#"{"data":[{"id":"x"}]}"#) });
    assert_eq!(other.await, "unhealthy: it offers `x` and not `qwen3`");
    let broken = llama_cpp(|_, _| (500, "oh\nno"));
    assert_eq!(broken.await, "unhealthy: /health answers 500: oh no");
    let page = llama_cpp(|_, _| (200, "<html>"));
    assert_eq!(page.await, "unhealthy: /v1/models answers with something else than models: <html>");
}

#[tokio::test]
async fn vllm_listens_once_loaded_and_reports_a_dead_engine() {
    let silent = Vllm.probe("http://127.0.0.1:9", Some("qwen3"));
    assert_eq!(asked(&silent, None).await, "loading: it does not listen before the model is there");
    // Its health has no body.
    let healthy = vllm(|path, _| match path {
        "/health" => (200, ""),
        "/v1/models" => (200, r#"{"object":"list","data":[{"id":"qwen3","root":"/models/qwen3"}]}"#),
        _ => (404, "asked for something else"),
    });
    assert_eq!(healthy.await, "healthy");
    let dead = vllm(|path, _| if path == "/health" { (503, "") } else { (200, r#"{"data":[{"id":"qwen3"}]}"#) });
    assert_eq!(dead.await, "unhealthy: its engine is dead");
    let other = vllm(|path, _| if path == "/health" { (200, "") } else { (200, r#"{"data":[{"id":"x"}]}"#) });
    assert_eq!(other.await, "unhealthy: it offers `x` and not `qwen3`");
    let guarded = vllm(|path, _| if path == "/health" { (200, "") } else { (401, r#"{"error":"Unauthorized"}"#) });
    assert_eq!(guarded.await, "unhealthy: the key is not accepted (401 from /v1/models)");
}

#[tokio::test]
async fn any_status_below_400_is_healthy_for_a_plain_probe() {
    for (status, start) in [(200, "healthy"), (302, "healthy"), (404, "unhealthy: "), (500, "unhealthy: ")] {
        let answers: Answers = match status {
            200 => |_, _| (200, ""),
            302 => |_, _| (302, ""),
            404 => |_, _| (404, ""),
            _ => |_, _| (500, ""),
        };
        let reported = asked(&plain(server(answers).await, "/live"), None).await;
        assert!(reported.starts_with(start), "{status}: {reported}");
    }
    let silent = asked(&plain("http://127.0.0.1:9".to_owned(), "/"), None).await;
    assert_eq!(silent, "unreachable: connection refused");
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_answers_is_unreachable_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut kept = vec![];
        while let Ok(connection) = listener.accept().await {
            kept.push(connection);
        }
    });
    let endpoint = format!("http://127.0.0.1:{port}");
    let authorization = Authorization(SecretReference::Env("KEY".to_owned()));
    let probes = [
        plain(endpoint.clone(), "/"),
        LlamaCpp.probe(&endpoint, Some("x")),
        Litellm.probe(&endpoint, vec![], authorization),
        resp(port, None),
    ];
    let client = Client::new().expect("a client");
    let all = futures_util::future::join_all(probes.iter().map(|probe| ask_here(&client, probe, None)));
    for health in ends(all).await {
        assert!(matches!(health, Health::Unreachable { .. }), "{health}");
    }
}

/// Starts a server that gives one fixed answer to whatever comes, and returns its port.
async fn fixed(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 512]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn redis_answers_are_classified() {
    let cases = [
        ("-LOADING Redis is loading the dataset in memory\r\n", "loading: the data set is loading"),
        ("-NOAUTH Authentication required.\r\n", "unhealthy: it asks for a password"),
        ("-ERR unknown\r\n", "unhealthy: PING is refused: ERR unknown"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "unhealthy: what answers there is not Redis"),
        ("+PONG\r\n", "healthy"),
        ("", "unreachable: it closed the connection without an answer"),
    ];
    for (answer, reported) in cases {
        assert_eq!(asked(&resp(fixed(answer).await, None), None).await, reported, "{answer}");
    }
}

#[tokio::test]
async fn a_real_redis_reports_its_limit() {
    let Some(port) = free_port() else { panic!("no free port") };
    let server = tokio::process::Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--maxmemory", "64mb"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(_server) = server else {
        crate::skipped("redis-server is not installed");
        return;
    };
    let probe = |memory| resp(port, memory);
    until_async("it starts", async || asked(&probe(None), None).await == "healthy").await;
    assert_eq!(asked(&probe(Some(Bytes(64 << 20))), None).await, "healthy");
    let reported = asked(&probe(Some(Bytes(32 << 20))), None).await;
    assert_eq!(reported, "unhealthy: its maxmemory is 64 MiB and not 32 MiB");
}

fn free_port() -> Option<u16> {
    Some(std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port())
}
