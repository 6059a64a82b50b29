//! The clients of Ollama and its registry, including failures.

use crate::clock::{HANG, at_least, until_async};
use crate::fakes::ollama::{End, FakeOllama, ReceivedRequest, Reply};
use crate::fakes::registry::Registry;
use llamero::engines::Provider as _;
use llamero::engines::ollama::Ollama as OllamaEngine;
use llamero::resource::{Bytes, Digest, Health, OllamaName};
use llamero::systems::downloads::{Patience, Progress};
use llamero::systems::http::Client;
use llamero::systems::listener::{Members, Sockets, prove_by};
use llamero::systems::ollama::{Derived, Error, Fault, KeepAlive, Load, Loaded, Ollama, Pull, Tag, manifest};
use llamero::systems::{Hint as _, Retry, health};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PATIENT: Patience =
    Patience { stall: HANG, tries: 3, pause: Duration::from_millis(1), longest_pause: Duration::from_millis(100) };

/// For a pull that does not get on.
const STALL: Duration = Duration::from_millis(100);
const SEVEN: Duration = Duration::from_secs(7);
const WEIGHTS: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const CONFIG: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn name(text: &str) -> OllamaName {
    OllamaName::parse(text).expect("a name")
}

fn client() -> Client {
    Client::new().expect("a client")
}

/// The layer of the weights at so many of a thousand bytes.
fn at(completed: u64) -> Value {
    json!({"status": "pulling aaaaaaaaaaaa", "digest": WEIGHTS, "total": 1000, "completed": completed})
}

fn status(text: &str) -> Value {
    json!({"status": text})
}

/// A pull that goes well from so many bytes on.
fn whole_from(completed: u64) -> Reply {
    let config = json!({"status": "pulling bbbbbbbbbbbb", "digest": CONFIG, "total": 20, "completed": 20});
    let first = [status("pulling manifest"), at(completed), at(1000), config];
    let last = ["verifying sha256 digest", "writing manifest", "success"].map(status);
    Reply::Lines(first.into_iter().chain(last).collect(), End::Whole)
}

fn broken_at(completed: u64, end: End) -> Reply {
    // What is zero is left out, as Ollama does.
    let mut first = at(completed / 2);
    if completed < 2 {
        first.as_object_mut().expect("an object").remove("completed");
    }
    Reply::Lines(vec![status("pulling manifest"), first, at(completed)], end)
}

async fn pull(server: &FakeOllama) -> (Result<(), Error>, Vec<Progress>) {
    pull_with(server, PATIENT).await
}

async fn pull_with(server: &FakeOllama, patience: Patience) -> (Result<(), Error>, Vec<Progress>) {
    let reported = Mutex::new(vec![]);
    let pull = Pull { name: name("m"), insecure: true, patience };
    let on_progress = |progress: Progress| reported.lock().expect("no panic").push(progress);
    let client = client();
    let result = Ollama::new(&client, &server.endpoint).pull(&pull, &on_progress, &CancellationToken::new()).await;
    (result, reported.into_inner().expect("no panic"))
}

#[tokio::test]
async fn a_pull_that_is_cut_off_resumes() {
    let server = FakeOllama::start(|_, before| match before {
        0 => broken_at(100, End::Cut),
        1 => broken_at(500, End::Whole),
        2 => Reply::Later(429, 3600),
        3 => broken_at(900, End::Cut),
        _ => whole_from(900),
    })
    .await;
    let (result, reported) = pull(&server).await;
    result.expect("it arrives");
    let asked =
        ReceivedRequest { what: "POST /api/pull".to_owned(), body: json!({"model": "m:latest", "insecure": true}) };
    assert_eq!(server.asked(), vec![asked; 5]);
    assert_eq!(reported.first(), Some(&Progress { received: 50, total: Some(1000) }));
    assert_eq!(reported.last(), Some(&Progress { received: 1020, total: Some(1020) }));
}

#[tokio::test]
async fn only_success_is_success() {
    let server = FakeOllama::start(|_, before| match before {
        0 => Reply::Json(200, json!({"status": "writing manifest"})),
        1 => Reply::Json(200, json!("success")),
        // Without a line's end behind it, as whatever stands between may leave it.
        _ => Reply::Json(200, json!({"status": "success"})),
    })
    .await;
    pull(&server).await.0.expect("it arrives");
    assert_eq!(server.calls().len(), 3);
}

#[tokio::test]
async fn pulls_without_progress_are_limited() {
    let server = FakeOllama::start(|_, _| broken_at(700, End::Whole)).await;
    let (result, _) = pull(&server).await;
    let error = result.expect_err("it never ends");
    assert!(matches!(error, Error::Cut { .. }), "{error:?}");
    assert_eq!((server.calls().len(), error.retry()), (3, Retry::Soon));
}

#[tokio::test]
async fn repeated_lines_count_as_a_stall() {
    for end in [End::Repeat, End::Cycle, End::Stall] {
        let server = FakeOllama::start(move |_, _| broken_at(700, end)).await;
        let patience = Patience { stall: STALL, ..PATIENT };
        let (result, reported) = at_least(STALL * 3, pull_with(&server, patience)).await;
        let error = result.expect_err("it stalls");
        assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
        // Two lines of each pull bring it on, if they arrive in time, and none that repeats them does.
        assert!(server.calls().len() == 3 && reported.len() <= 6, "{reported:?}");
    }
}

#[tokio::test]
async fn an_error_inside_a_good_answer_is_an_error() {
    for (words, fault, tries) in [
        ("pull model manifest: file does not exist", Fault::Unknown, 1),
        ("write /models/blobs/sha256-aa-partial: no space left on device", Fault::Full, 1),
        ("digest mismatch, file must be downloaded again: want sha256:a, got sha256:b", Fault::Mismatch, 1),
        ("something of tomorrow", Fault::Other, 1),
        ("pull model manifest: 429: slow down", Fault::Transient, 3),
        ("max retries exceeded: EOF", Fault::Transient, 3),
    ] {
        let lines = vec![status("pulling manifest"), json!({"error": words})];
        let server = FakeOllama::start(move |_, _| Reply::Lines(lines.clone(), End::Whole)).await;
        let (result, _) = pull(&server).await;
        let Err(Error::Failed { fault: live, message, .. }) = &result else { panic!("{words}: {result:?}") };
        assert_eq!((*live, message.as_str(), server.calls().len()), (fault, words, tries));
    }
}

#[tokio::test]
async fn an_unreachable_ollama_is_retried() {
    let pull = Pull { name: name("m"), insecure: false, patience: PATIENT };
    let client = client();
    let ollama = Ollama::new(&client, "http://127.0.0.1:9");
    let error = ollama.pull(&pull, &|_| {}, &CancellationToken::new()).await.expect_err("no listener");
    assert!(matches!(error, Error::Network { .. }) && error.retry() == Retry::Soon, "{error:?}");
}

#[tokio::test]
async fn cancellation_closes_the_request() {
    let server = FakeOllama::start(|_, _| broken_at(700, End::Repeat)).await;
    let (client, cancel) = (client(), CancellationToken::new());
    let pull = Pull { name: name("m"), insecure: false, patience: Patience::default() };
    let on_progress = |progress: Progress| {
        if progress.received == 700 {
            assert_eq!(server.open_streams(), 1);
            cancel.cancel();
        }
    };
    let result = Ollama::new(&client, &server.endpoint).pull(&pull, &on_progress, &cancel).await;
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    until_async("the request is closed", async || server.open_streams() == 0).await;
}

fn listed(name: &str, more: &Value) -> Value {
    let mut model = json!({"name": name, "model": name, "size": 7, "digest": &WEIGHTS[7..], "details": {}});
    model.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    model
}

#[tokio::test]
async fn present_and_loaded_models_are_listed() {
    let server = FakeOllama::start(|asked, before| match (asked.what.as_str(), before) {
        ("GET /api/version", _) => Reply::Json(200, json!({"version": "0.24.0"})),
        ("GET /api/tags", 0) => Reply::Json(200, json!({"models": null})),
        ("GET /api/tags", 1) => {
            let models = [("m:t", json!({})), ("gpt-oss:120b-cloud", json!({"remote_host": "https://ollama.com"}))];
            Reply::Json(200, json!({"models": models.map(|(name, more)| listed(name, &more))}))
        }
        ("GET /api/tags", _) => Reply::Json(200, json!({"models": "many"})),
        ("GET /api/ps", _) => {
            let pinned = json!({"size_vram": 5, "context_length": 4096, "expires_at": "2318-03-05T12:00:00.5+01:00"});
            let models = [listed("m:t", &pinned), listed("n:t", &json!({"expires_at": "2026-11-24T12:00:00Z"}))];
            Reply::Json(200, json!({"models": models}))
        }
        ("POST /api/show", 0) => Reply::Json(
            200,
            json!({"parameters": "num_ctx 8192", "capabilities": ["embedding"],
                   "model_info": {"bert.context_length": 512, "bert.block_count": 12}}),
        ),
        _ => Reply::Json(404, json!({"error": "model 'm:t' not found"})),
    })
    .await;
    let client = client();
    let ollama = Ollama::new(&client, &server.endpoint);
    assert_eq!(ollama.version().await.expect("a version"), "0.24.0");
    assert_eq!(ollama.tags().await.expect("a list"), []);
    let digest = Digest::parse(&WEIGHTS[7..]).expect("a digest");
    let tag = Tag { name: name("m:t"), digest: digest.clone(), size: Bytes(7) };
    assert_eq!(ollama.tags().await.expect("a list"), [tag], "what runs elsewhere is left out");
    let error = ollama.tags().await.expect_err("no list");
    assert!(matches!(error, Error::Strange { .. }), "{error:?}");

    let loaded = |text: &str, size_vram, context_length, expires_at: Option<&str>| Loaded {
        pinned: expires_at.is_none(),
        name: name(text),
        digest: digest.clone(),
        size: Bytes(7),
        size_vram: Bytes(size_vram),
        context_length,
        expires_at: expires_at.map(str::to_owned),
    };
    let expected = [loaded("m:t", 5, Some(4096), None), loaded("n:t", 0, None, Some("2026-11-24T12:00:00Z"))];
    assert_eq!(ollama.ps().await.expect("a list"), expected);

    let description = ollama.show(&name("m:t")).await.expect("a description");
    assert!(description.is_embedding());
    assert_eq!((description.parameters.as_str(), description.context_length()), ("num_ctx 8192", Some(512)));
    let error = ollama.show(&name("m:t")).await.expect_err("no such model");
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn errors_are_classified_by_status() {
    for (says, kind, retry) in [
        ((403, json!({})), "denied", Retry::Never),
        ((404, json!({})), "not found", Retry::Never),
        (
            (503, json!({"error": "server busy, please try again.  maximum pending requests exceeded"})),
            "busy",
            Retry::Soon,
        ),
        ((500, json!({"error": "model requires more system memory"})), "status", Retry::Never),
        ((400, json!({"error": "\"m\" does not support generate"})), "status", Retry::Never),
    ] {
        let (status, body) = says;
        let server = FakeOllama::start(move |_, _| Reply::Json(status, body.clone())).await;
        let client = client();
        let ollama = Ollama::new(&client, &server.endpoint);
        let cancel = CancellationToken::new();
        let error = ollama
            .load(Load { name: &name("m"), keep_alive: KeepAlive::Default, embedding: false }, HANG, &cancel)
            .await
            .expect_err("it is refused");
        let reported = match &error {
            Error::HostDenied { .. } | Error::Denied { .. } => "denied",
            Error::NotFound { .. } => "not found",
            Error::Busy { .. } => "busy",
            Error::Status { .. } => "status",
            _ => "other",
        };
        assert_eq!((reported, error.retry()), (kind, retry), "{error}");
        assert_eq!(error.hint().is_some_and(|hint| hint.contains("localhost")), status == 403);
    }
}

#[tokio::test]
async fn a_model_is_loaded_pinned_and_unloaded() {
    let server = FakeOllama::start(|asked, before| match (asked.what.as_str(), before) {
        ("GET /api/ps", 0 | 1) => Reply::Json(200, json!({"models": [listed("M:latest", &json!({}))]})),
        ("GET /api/ps", _) => Reply::Json(200, json!({"models": []})),
        _ => Reply::Json(200, json!({"done": true})),
    })
    .await;
    let client = client();
    let (ollama, cancel) = (Ollama::new(&client, &server.endpoint), CancellationToken::new());
    ollama
        .load(Load { name: &name("m"), keep_alive: KeepAlive::Forever, embedding: false }, HANG, &cancel)
        .await
        .expect("loaded");
    ollama
        .load(Load { name: &name("e"), keep_alive: KeepAlive::Default, embedding: true }, HANG, &cancel)
        .await
        .expect("loaded");
    ollama.unload(&name("m"), HANG, &cancel).await.expect("unloaded");
    let asked: Vec<_> = server.asked().into_iter().map(|asked| (asked.what, asked.body)).collect();
    let post = |path: &str, body: Value| (format!("POST /api/{path}"), body);
    assert_eq!(asked[0], post("generate", json!({"model": "m:latest", "stream": false, "keep_alive": -1})));
    assert_eq!(asked[1], post("embed", json!({"model": "e:latest", "stream": false})));
    assert_eq!(asked[2], post("generate", json!({"model": "m:latest", "keep_alive": 0, "stream": false})));
    assert_eq!(asked.len(), 6);
}

#[tokio::test]
async fn an_embedding_model_is_unloaded_through_its_own_endpoint() {
    let server = FakeOllama::start(|asked, _| match asked.what.as_str() {
        "POST /api/generate" => Reply::Json(400, json!({"error": "\"e\" does not support generate"})),
        "GET /api/ps" => Reply::Json(200, json!({"models": []})),
        _ => Reply::Json(200, json!({"embeddings": []})),
    })
    .await;
    let (client, cancel) = (client(), CancellationToken::new());
    Ollama::new(&client, &server.endpoint).unload(&name("e"), HANG, &cancel).await.expect("unloaded");
    let asked: Vec<_> = server.asked().into_iter().map(|asked| (asked.what, asked.body)).collect();
    let body = json!({"model": "e:latest", "keep_alive": 0, "stream": false});
    assert_eq!(asked[1], ("POST /api/embed".to_owned(), body));
}

#[tokio::test]
async fn unloading_times_out() {
    let server = FakeOllama::start(|asked, _| match asked.what.as_str() {
        "GET /api/ps" => Reply::Json(200, json!({"models": [listed("m:latest", &json!({}))]})),
        _ if asked.body["model"] == "gone:latest" => Reply::Json(404, json!({"error": "not found"})),
        _ => Reply::Json(200, json!({"done": true})),
    })
    .await;
    let client = client();
    let (ollama, cancel) = (Ollama::new(&client, &server.endpoint), CancellationToken::new());
    let error = ollama.unload(&name("m"), Duration::from_millis(250), &cancel).await.expect_err("it stays");
    assert!(matches!(error, Error::StillLoaded { .. }), "{error:?}");
    ollama.unload(&name("gone"), HANG, &cancel).await.expect("a missing model is not loaded");
}

#[tokio::test]
async fn names_are_copied_and_deleted() {
    let server = FakeOllama::start(|asked, before| match (asked.what.as_str(), before) {
        ("DELETE /api/delete" | "POST /api/copy", 1) => Reply::Json(404, json!({"error": "not found"})),
        ("DELETE /api/delete", 2) => Reply::Json(500, json!({"error": "permission denied"})),
        _ => Reply::Json(200, json!(null)),
    })
    .await;
    let client = client();
    let ollama = Ollama::new(&client, &server.endpoint);
    ollama.copy(&name("m"), &name("backup")).await.expect("copied");
    assert!(matches!(ollama.copy(&name("m"), &name("b")).await, Err(Error::NotFound { .. })));
    ollama.delete(&name("m")).await.expect("deleted");
    ollama.delete(&name("m")).await.expect("gone already");
    assert!(matches!(ollama.delete(&name("m")).await, Err(Error::Status { status: 500, .. })));
    assert_eq!(server.asked()[0].body, json!({"source": "m:latest", "destination": "backup:latest"}));
    assert_eq!(server.asked()[2].body, json!({"model": "m:latest"}));
}

#[tokio::test]
async fn a_model_is_created_only_from_a_present_one() {
    let server = FakeOllama::start(|asked, before| match (asked.what.as_str(), before) {
        ("POST /api/show", _) if asked.body["model"] == "m:latest" => Reply::Json(200, json!({})),
        ("POST /api/create", 0) => {
            Reply::Lines(["using existing layer", "writing manifest", "success"].map(status).to_vec(), End::Whole)
        }
        ("POST /api/create", 1) => Reply::Lines(vec![status("writing manifest")], End::Whole),
        ("POST /api/create", 2) => Reply::Lines(vec![json!({"error": "unknown parameter 'nonsense'"})], End::Whole),
        _ => Reply::Json(404, json!({"error": "not found"})),
    })
    .await;
    let parameters = json!({"num_ctx": 8192, "stop": ["<end>"]}).as_object().expect("an object").clone();
    let mut derived = Derived {
        name: name("m-8k"),
        from: name("m"),
        parameters,
        template: None,
        system: Some("Be brief.".to_owned()),
    };
    let client = client();
    let (ollama, cancel) = (Ollama::new(&client, &server.endpoint), CancellationToken::new());
    ollama.create(&derived, &cancel).await.expect("made");
    let body = json!({"model": "m-8k:latest", "from": "m:latest", "system": "Be brief.",
                      "parameters": {"num_ctx": 8192, "stop": ["<end>"]}});
    assert_eq!(server.asked()[1].body, body);
    assert!(matches!(ollama.create(&derived, &cancel).await, Err(Error::Cut { .. })));
    let error = ollama.create(&derived, &cancel).await.expect_err("it is refused");
    assert!(error.to_string().contains("unknown parameter"), "{error}");
    derived.from = name("elsewhere");
    let calls = server.calls().len();
    assert!(matches!(ollama.create(&derived, &cancel).await, Err(Error::NotFound { .. })));
    assert_eq!(server.calls()[calls..], ["POST /api/show"], "nothing is made, and so nothing is pulled");
}

/// Asks a server that this process is.
async fn asked(endpoint: &str) -> Health {
    let (probe, here) = (OllamaEngine.probe(endpoint, None), Members::Processes([std::process::id()].into()));
    match prove_by(&Sockets::default(), &probe, &here) {
        Ok(proven) => health::ask(&client(), proven, None).await,
        Err(unproven) => unproven.health(&probe),
    }
}

#[tokio::test]
async fn it_is_healthy_when_it_lists_its_models() {
    let health = async |answers: fn(&str) -> (u16, Value)| {
        let server = FakeOllama::start(move |asked, _| {
            let (status, body) = answers(&asked.what);
            Reply::Json(status, body)
        })
        .await;
        let health = asked(&server.endpoint).await;
        assert!(server.calls().iter().all(|call| ["GET /api/version", "GET /api/tags"].contains(&call.as_str())));
        health
    };
    let good = health(|what| match what {
        "GET /api/version" => (200, json!({"version": "0.24.0"})),
        _ => (200, json!({"models": null})),
    });
    assert_eq!(good.await, Health::Healthy);
    let other = health(|_| (200, json!({"hello": "world"}))).await;
    assert!(matches!(&other, Health::Unhealthy { why } if why.contains("/api/version")), "{other}");
    let host = health(|_| (403, json!({}))).await;
    assert!(matches!(&host, Health::Unhealthy { why } if why.contains("host name")), "{host}");
    let busy = health(|_| (503, json!({"error": "server busy"}))).await;
    assert!(matches!(&busy, Health::Loading { why } if why.contains("server busy")), "{busy}");
    let list = health(|what| match what {
        "GET /api/version" => (200, json!({"version": "0.24.0"})),
        _ => (500, json!({"error": "no such folder"})),
    });
    let list = list.await;
    assert!(matches!(&list, Health::Unhealthy { why } if why.contains("no such folder")), "{list}");
    let silent = asked("http://127.0.0.1:9").await;
    assert_eq!(silent, Health::unreachable("connection refused"));
}

#[tokio::test]
async fn the_registry_resolves_a_tag() {
    let registry = Registry::start().await;
    let model = name(&format!("{}/team/model:latest", registry.host));
    let client = client();
    let ask = async || manifest(&client, &model, true, HANG).await;
    assert!(matches!(ask().await, Err(Error::NotFound { .. })));
    let first = registry.publish("team/model", "latest", &[1; 1000]);
    let live = ask().await.expect("a manifest");
    assert_eq!((&live.digest, live.layers.len()), (&first, 2));
    assert_eq!(live.layers[0].digest, Digest::of([1; 1000]));
    assert_eq!(live.size, Bytes(1000 + live.layers[1].size.0));
    let second = registry.publish("team/model", "latest", &[2; 1000]);
    assert_eq!(ask().await.expect("a manifest").digest, second);
    assert_ne!(first, second);

    registry.lie(first.clone());
    let error = ask().await.expect_err("a wrong digest");
    assert!(matches!(&error, Error::Checksum { expected, live, .. } if (expected, live) == (&first, &second)));
    for (status, kind) in [(401, "denied"), (429, "busy"), (503, "busy"), (418, "status")] {
        registry.refuse(status);
        let reported = match ask().await.expect_err("it is refused") {
            Error::HostDenied { .. } | Error::Denied { .. } => "denied",
            Error::Busy { after: Some(SEVEN), .. } => "busy",
            Error::Status { .. } => "status",
            _ => "other",
        };
        assert_eq!(reported, kind, "{status}");
    }
    let silent = name("127.0.0.1:9/team/model");
    assert!(matches!(manifest(&client, &silent, true, HANG).await, Err(Error::Network { .. })));
    let error = manifest(&client, &name(&format!("{}/team/model", registry.host)), false, HANG).await;
    assert!(matches!(error, Err(Error::Network { .. })), "plain HTTP is asked for only where it is wanted");
}
