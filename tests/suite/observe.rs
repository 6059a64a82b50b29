//! Observation: the systems of a machine are asked side by side, one that hangs delays no other, and one that went away
//! and came back is found again.

use crate::fakes::machine::{FakeMachine, Wires};
use crate::sample;
use axum::extract::Request;
use axum::http::StatusCode;
use llamero::engines;
use llamero::live::{Live, Observation, Presence, RunState};
use llamero::observe::{Depth, observe};
use llamero::plan::warnings;
use llamero::resolve::{Desired, Policy};
use llamero::resource::{
    Authorization, Bytes, External, ExternalQuestion, HttpProbe, Kind, OllamaName, Probe, Resource, ResourceId,
    Runtime, SecretReference, ServedModel, Spec,
};
use llamero::systems::http::Client;
use llamero::systems::listener::{Members, Sockets, prove_by};
use llamero::systems::readings;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

fn unit() -> ResourceId {
    ResourceId::new(Kind::Unit, "home-page")
}

fn container() -> ResourceId {
    ResourceId::new(Kind::Container, "home-page")
}

fn model() -> ResourceId {
    ResourceId::new(Kind::Model, "tiny")
}

/// Returns a stack with something on each system.
fn desired(ollama: &str) -> Desired {
    let name = OllamaName::parse("tiny").expect("a name");
    let model_of = ServedModel {
        endpoint: ollama.to_owned(),
        name: name.clone(),
        source: name,
        insecure: false,
        sha256: None,
        keep_free: Bytes(0),
        parameters: serde_json::Map::new(),
        template: None,
        system: None,
        pinned: false,
        embedding: false,
        manifest: None,
    };
    let run = |runtime| Spec::Run(Box::new(sample::run(runtime, &["/bin/page"])));
    let resources = [
        Resource::new(unit(), "services.page", run(Runtime::Systemd)),
        Resource::new(container(), "services.other", run(Runtime::Docker)),
        Resource::new(model(), "models.tiny", Spec::Model(Box::new(model_of))),
    ];
    Desired {
        resources: resources.into_iter().map(|resource| (resource.id.clone(), resource)).collect(),
        ..Desired::nothing("home", Policy::default())
    }
}

async fn look(machine: &FakeMachine) -> Observation {
    observe(&machine.systems, &desired(&machine.ollama), &[], Depth::State).await
}

fn runs(observed: &Observation) -> bool {
    matches!(&observed.resources[&unit()], Presence::Present(Live::Run(run)) if run.phase == RunState::Running)
}

#[tokio::test]
async fn no_system_waits_for_another() {
    // Each answers only once the others have been asked too.
    let all: &[&str] = &["systemd", "docker", "ollama"];
    let machine = FakeMachine::start(Wires::new(&[("systemd", all), ("docker", all), ("ollama", all)]), "1.41").await;
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    assert_eq!(observed.resources[&container()], Presence::Absent);
    // Nothing could be pulled for it: its registry is nowhere.
    assert_eq!(observed.resources[&model()], Presence::Absent);
    assert_eq!(machine.wires.calls("systemd"), ["Subscribe", "ActiveState"]);
    let mut engine = machine.wires.calls("docker");
    engine.sort();
    let expected = ["/containers/home-page/json", "/containers/json", "/info", "/networks"];
    let expected: Vec<String> = expected.iter().map(|path| format!("GET /v1.41{path}")).collect();
    assert_eq!(engine, [expected, vec!["GET /version".to_owned()]].concat());
    let mut ollama = machine.wires.calls("ollama");
    ollama.sort();
    assert_eq!(ollama, ["GET /api/ps", "GET /api/tags"]);
}

#[tokio::test]
async fn a_system_that_hangs_is_unknown_and_the_others_are_reported() {
    for (hung, deadline) in [("ollama", 15), ("docker", 15), ("systemd", 10)] {
        let machine = FakeMachine::start(Wires::new(&[(hung, &["never"])]), "1.41").await;
        let asked_all = machine.wires.until(|asked| {
            let count = |system| asked.get(system).map_or(0, Vec::len);
            let counts = [("systemd", 2), ("docker", 5), ("ollama", 2)]
                .map(|(system, most)| (system == hung, count(system), most));
            counts.iter().all(|(hangs, count, most)| if *hangs { *count > 0 } else { count == most })
        });
        let observation = async {
            // From here on only deadlines are waited for: the others have been asked all they are asked, and answer.
            let (observed, ()) = tokio::join!(look(&machine), async {
                asked_all.await;
                tokio::time::pause();
            });
            observed
        };
        let observed = observation.await;
        let of = [("systemd", unit()), ("docker", container()), ("ollama", model())];
        for (system, id) in of {
            let presence = &observed.resources[&id];
            match presence {
                Presence::Unknown(why) => {
                    assert_eq!(system, hung, "{why}");
                    assert!(why.why.contains(&format!("{deadline} s")) || hung == "systemd", "{why}");
                }
                _ => assert_ne!(system, hung, "{presence:?}"),
            }
        }
        // It was not asked again and again.
        assert!(machine.wires.calls(hung).len() <= 2, "{:?}", machine.wires.calls(hung));
        tokio::time::resume();
    }
}

#[tokio::test]
async fn whether_units_end_at_logout_is_known_of_the_login_manager_alone() {
    for (wires, known) in [(Wires::new(&[]), false), (Wires::new(&[("logind", &[])]), true)] {
        let machine = FakeMachine::start(wires, "1.41").await;
        let observed = look(&machine).await;
        assert_eq!(observed.end_at_logout.contains(&Kind::Unit), known, "{observed:?}");
        let warned = warnings(&desired(&machine.ollama), &observed);
        assert_eq!(warned.iter().any(|it| it.hint.as_ref().is_some_and(|hint| hint.contains("enable-linger"))), known);
    }
}

/// Answers each path with a status, and remembers the keys that came.
async fn upstream(keys: Arc<Mutex<Vec<String>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().fallback(move |request: Request| {
        let key = request.headers().get("authorization").and_then(|key| key.to_str().ok()).unwrap_or("none").to_owned();
        keys.lock().expect("no panic").push(format!("{} {} {key}", request.method(), request.uri().path()));
        let status = request.uri().path().trim_start_matches('/').split('/').next().and_then(|it| it.parse().ok());
        async move { (StatusCode::from_u16(status.unwrap_or(200)).expect("a status"), r#"{"error":"so"}"#) }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    address
}

#[tokio::test]
async fn parts_that_others_run_are_asked_once_with_their_key() {
    let machine = FakeMachine::start(Wires::new(&[]), "1.41").await;
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let upstream = upstream(Arc::clone(&keys)).await;
    let key = machine.folder.path().join("key");
    std::fs::write(&key, "sk-1\n").expect("written");
    let http = |role: &str, url: String, key: &Path| External {
        role: role.to_owned(),
        address: url.clone(),
        question: ExternalQuestion::Http { url, authorization: Some(Authorization(SecretReference::File(key.into()))) },
    };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let closed = format!("http://{closed}/v1/models");
    let externals = vec![
        http("on", format!("{upstream}/v1/models"), &key),
        http("lists-nothing", format!("{upstream}/404/models"), &key),
        http("busy", format!("{upstream}/429/models"), &key),
        http("denied", format!("{upstream}/401/models"), &key),
        http("broken", format!("{upstream}/503/models"), &key),
        http("keyless", format!("{upstream}/200/models"), Path::new("/nowhere/key")),
        http("off", closed, &key),
    ];
    let desired = Desired { externals, ..Desired::nothing("home", Policy::default()) };
    let observed = observe(&machine.systems, &desired, &[], Depth::State).await;
    let ill: Vec<String> = observed.externals.iter().map(|(role, health)| format!("{role}: {health}")).collect();
    for (role, words) in [
        ("on", "healthy"),
        ("lists-nothing", "healthy"),
        ("busy", "healthy"),
        ("denied", "does not accept the key (401): so"),
        ("broken", "answers 503: so"),
        ("keyless", "it was not asked: "),
        ("off", "connection refused"),
    ] {
        assert!(ill.iter().any(|it| it.starts_with(&format!("{role}: ")) && it.contains(words)), "{role}: {ill:#?}");
    }
    let mut asked = keys.lock().expect("no panic").clone();
    asked.sort();
    let expected = ["/401/models", "/404/models", "/429/models", "/503/models", "/v1/models"];
    assert_eq!(asked, expected.map(|path| format!("GET {path} Bearer sk-1")));
    assert_eq!(warnings(&desired, &observed).len(), 4);
}

#[tokio::test]
async fn a_redis_that_others_run_is_told_its_password() {
    let machine = FakeMachine::start(Wires::new(&[]), "1.41").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(redis(stream));
        }
    });
    let right = machine.folder.path().join("right");
    let wrong = machine.folder.path().join("wrong");
    std::fs::write(&right, "hunter2").expect("written");
    std::fs::write(&wrong, "hunter3").expect("written");
    for (password, words) in [(Some(&right), "healthy"), (Some(&wrong), "WRONGPASS"), (None, "asks for a password")] {
        let password = password.map(|path| Authorization(SecretReference::File(path.clone())));
        let question = ExternalQuestion::Redis { host: "127.0.0.1".to_owned(), port, tls: false, password };
        let cache = External { role: "cache".to_owned(), address: String::new(), question };
        let desired = Desired { externals: vec![cache], ..Desired::nothing("home", Policy::default()) };
        let observed = observe(&machine.systems, &desired, &[], Depth::State).await;
        let health = observed.externals["cache"].to_string();
        assert!(health.contains(words) && !health.contains("hunter"), "{health}");
    }
}

/// Answers as a Redis with a password does.
async fn redis(stream: tokio::net::TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut known = false;
    loop {
        let mut words = Vec::new();
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        for _ in 0..line.trim().trim_start_matches('*').parse().unwrap_or(0) {
            for _ in 0..2 {
                line.clear();
                stream.read_line(&mut line).await.expect("a line");
            }
            words.push(line.trim().to_owned());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = match words.as_slice() {
            ["AUTH", "hunter2"] => {
                known = true;
                "+OK\r\n"
            }
            ["AUTH", _] => "-WRONGPASS invalid username-password pair\r\n",
            ["PING"] if known => "+PONG\r\n",
            _ => "-NOAUTH Authentication required.\r\n",
        };
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
}

#[tokio::test]
async fn what_a_server_reports_of_itself_is_read_with_one_question_for_each_path() {
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let asked = Arc::clone(&keys);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().fallback(move |request: Request| {
        asked.lock().expect("no panic").push(request.uri().path().to_owned());
        let body = match request.uri().path() {
            "/props" => r#"{"total_slots":2,"default_generation_settings":{"n_ctx":1024}}"#,
            _ => r#"{"data":[{"id":"a"}]}"#,
        };
        async move { body }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    let probe = Probe::Http(HttpProbe { endpoint, checks: Vec::new(), models: None, authorization: None });
    let client = Client::new().expect("a client");
    let read = async |engine: &str| {
        let this = Members::Processes([std::process::id()].into());
        let proven = prove_by(&Sockets::default(), &probe, &this).expect("this process listens");
        let values = readings::read(&client, proven, engines::readings(engine)).await;
        values.into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>()
    };
    assert_eq!(read("llama-cpp").await, ["--ctx-size 1024", "--parallel 2"]);
    assert_eq!(*keys.lock().expect("no panic"), ["/props"]);
    // What it does not report is not known.
    assert_eq!(read("vllm").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_manager_that_comes_back_is_found_again() {
    let machine = FakeMachine::start(Wires::new(&[]), "1.41").await;
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    assert_eq!(machine.managers.lock().expect("no panic").len(), 1, "one connection serves for all");
    let gone = machine.managers.lock().expect("no panic").pop().expect("a connection");
    gone.close().await.expect("closed");
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    assert_eq!(machine.managers.lock().expect("no panic").len(), 1, "another connection was made");
}

#[tokio::test]
async fn a_manager_that_goes_while_it_is_asked_is_asked_again() {
    let machine = FakeMachine::start(Wires::new(&[("leaves", &[])]), "1.41").await;
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    let calls = machine.wires.calls("systemd");
    assert_eq!(calls, ["Subscribe", "ActiveState", "Subscribe", "ActiveState"]);
}

#[tokio::test]
async fn an_engine_that_was_restarted_is_found_again_in_its_new_version() {
    let machine = FakeMachine::start(Wires::new(&[]), "1.41").await;
    assert_eq!(look(&machine).await.resources[&container()], Presence::Absent);
    machine.stop_engine().await;
    let Presence::Unknown(why) = &look(&machine).await.resources[&container()] else { panic!("nothing answers") };
    assert!(why.why.contains("docker.sock"), "{why}");
    machine.start_engine("1.44");
    assert_eq!(look(&machine).await.resources[&container()], Presence::Absent);
    let last = machine.wires.calls("docker").pop().expect("a call");
    assert!(last.starts_with("GET /v1.44/"), "{last}");
}
