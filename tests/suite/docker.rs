//! The client of Docker and Podman, including failures.

use crate::clock::{HANG, ends, until};
use crate::fakes::docker::{End, FakeDocker, ReceivedRequest, Reply};
use crate::sample;
use llamero::resource::{Container, Digest, Health, ImageName, Run, Runtime};
use llamero::systems::docker::{
    Deadlines, Docker, DockerEnvironment, Engine, Error, Fault, NewContainer, PullProgress, STACK_LABEL, Status,
};
use llamero::systems::{Hint as _, Retry};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// For what an engine answers, however slowly.
const PATIENT: Deadlines = Deadlines { connect: HANG, call: HANG, change: HANG, registry: HANG, stall: HANG };

/// For what it never answers.
const SHORT: Duration = Duration::from_millis(100);
const IMPATIENT: Deadlines = Deadlines { connect: HANG, call: SHORT, change: SHORT, registry: SHORT, stall: SHORT };

fn surroundings(socket: &Path) -> DockerEnvironment {
    DockerEnvironment { host: Some(format!("unix://{}", socket.display())), ..DockerEnvironment::default() }
}

async fn connect(server: &FakeDocker) -> Docker {
    let surroundings =
        DockerEnvironment { configuration: Some(server.configuration()), ..surroundings(&server.socket()) };
    Docker::connect_from(&surroundings, PATIENT).await.expect("connected")
}

/// A container as the engine reports it.
fn container(name: &str, stack: &str) -> Value {
    json!({"Id": format!("id-of-{name}"), "Name": format!("/{name}"), "Image": "sha256:1", "RestartCount": 0,
        "State": {"Status": "running", "Running": true, "Pid": 7, "StartedAt": "2026-01-01T00:00:00Z"},
        "Config": {"Image": "redis:7", "Labels": {STACK_LABEL: stack}}, "HostConfig": {"Memory": 0, "NanoCpus": 0}})
}

fn message(status: u16, text: &str) -> Reply {
    Reply::Json(status, json!({"message": text}))
}

fn run() -> Run {
    sample::run(Runtime::Docker, &[])
}

fn redis() -> ImageName {
    ImageName::parse("r.example/redis:7").expect("a name")
}

async fn pull(server: &FakeDocker) -> (Result<(), Error>, Vec<PullProgress>) {
    pull_within(server, PATIENT).await
}

async fn pull_within(server: &FakeDocker, deadlines: Deadlines) -> (Result<(), Error>, Vec<PullProgress>) {
    let reported = Mutex::new(vec![]);
    let on_progress = |progress| reported.lock().expect("no panic").push(progress);
    let docker = connect(server).await.with_deadlines(deadlines);
    let result = ends(docker.pull(&redis(), &on_progress, &CancellationToken::new())).await.map(drop);
    (result, reported.into_inner().expect("no panic"))
}

/// Answers a pull with these lines; the image is there afterwards.
fn pulling(lines: Vec<Value>, end: End) -> impl Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync {
    move |asked| match asked.what.as_str() {
        "POST /images/create" => Some(Reply::Lines(lines.clone(), end)),
        "GET /images/r.example/redis:7/json" => Some(Reply::Json(200, json!({"Id": "sha256:1"}))),
        _ => None,
    }
}

fn layer(status: &str, current: u64) -> Value {
    json!({"status": status, "id": "a", "progressDetail": {"current": current, "total": 100}})
}

#[tokio::test]
async fn the_api_version_is_negotiated_and_used_in_every_path() {
    let server = FakeDocker::start(|_| None);
    let docker = connect(&server).await;
    assert_eq!((docker.engine(), docker.is_rootless(), docker.version()), (Engine::Docker, false, "4.3.1"));
    assert!(docker.stack("home").containers().await.expect("a list").is_empty());
    let list = server.asked().pop().expect("asked");
    assert_eq!((list.what.as_str(), list.version.as_deref()), ("GET /containers/json", Some("1.41")));
    assert!(list.query.contains("all=true") && list.query.contains("llamero.stack%3Dhome"), "{}", list.query);

    let newer = FakeDocker::speaking("1.99");
    drop(connect(&newer).await);
    assert_eq!(newer.asked().pop().expect("asked").version.as_deref(), Some("1.53"));
    let older = FakeDocker::speaking("1.24");
    let error = Docker::connect_from(&surroundings(&older.socket()), PATIENT).await.expect_err("too old");
    assert!(error.to_string().contains("speaks API 1.24"), "{error}");
}

#[tokio::test]
async fn a_missing_engine_is_reported_with_its_socket() {
    let folder = crate::folder();
    let socket = folder.path().join("docker.sock");
    let at = surroundings(&socket);
    let error = Docker::connect_from(&at, PATIENT).await.expect_err("no listener");
    assert!(matches!(&error, Error::NoSocket { tried } if *tried == [socket.clone()]), "{error:?}");
    assert_eq!(error.retry(), Retry::Soon);
    // A daemon that was killed leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    // Whatever program is being started meanwhile holds it until its exec(2).
    until("nobody listens", || std::os::unix::net::UnixStream::connect(&socket).is_err());
    let error = Docker::connect_from(&at, PATIENT).await.expect_err("no listener");
    assert!(matches!(error, Error::Unreachable { .. }) && error.retry() == Retry::Soon, "{error:?}");
    assert!(error.to_string().contains(&socket.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_hung_socket_times_out() {
    let folder = crate::folder();
    let socket = folder.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let error = ends(Docker::connect_from(&surroundings(&socket), IMPATIENT)).await.expect_err("silence");
    assert!(matches!(error, Error::Deadline { .. }) && error.retry() == Retry::Soon, "{error:?}");
}

#[tokio::test]
async fn no_call_waits_for_ever() {
    let server = FakeDocker::start(|asked| match asked.what.as_str() {
        "GET /version" | "GET /info" => None,
        "GET /containers/ours/json" => Some(Reply::Json(200, container("ours", "home"))),
        _ => Some(Reply::Silence),
    });
    // The handshake is answered, and is given the time that it takes.
    let docker = connect(&server).await.with_deadlines(IMPATIENT);
    let (stack, run, plain, labels) = (docker.stack("home"), run(), Container::default(), BTreeMap::new());
    let new = NewContainer { name: "ours", run: &run, container: &plain, labels: &labels };
    let cancel = CancellationToken::new();
    let errors = [
        stack.containers().await.map(drop),
        stack.find("other").await.map(drop),
        stack.create(&new).await.map(drop),
        stack.start("ours").await,
        stack.stop("ours", SHORT).await,
        stack.kill("ours").await,
        stack.rename("ours", "another").await,
        stack.remove("ours").await.map(drop),
        stack.last_lines("ours", 3).await.map(drop),
        stack.ensure_network("net").await.map(drop),
        stack.remove_network("net").await.map(drop),
        stack.volumes().await.map(drop),
        stack.remove_volume("volume").await.map(drop),
        docker.image("redis:7").await.map(drop),
        docker.images().await.map(drop),
        docker.remove_image("redis:7").await.map(drop),
        docker.remote_digest(&redis()).await.map(drop),
        docker.pull(&redis(), &|_| {}, &cancel).await.map(drop),
    ];
    for (number, result) in errors.into_iter().enumerate() {
        let error = result.expect_err("silence");
        assert!(matches!(error, Error::Deadline { .. }), "call {number}: {error:?}");
    }
}

#[tokio::test]
async fn a_failing_engine_is_an_error_and_nothing_counts_as_absent() {
    let server = FakeDocker::start(|asked| match asked.what.as_str() {
        "GET /version" | "GET /info" => None,
        "GET /containers/half/json" => Some(Reply::Text(200, "{\"Id\": ")),
        "GET /containers/words/json" => Some(Reply::Text(500, "a proxy's page")),
        _ => Some(message(500, "layer store is broken")),
    });
    let docker = connect(&server).await;
    let stack = docker.stack("home");
    let error = stack.containers().await.expect_err("broken");
    assert_eq!(error.to_string(), "list the containers: layer store is broken");
    assert!(matches!(stack.find("some").await, Err(Error::Refused { .. })));
    assert!(matches!(stack.remove("some").await, Err(Error::Refused { .. })));
    assert!(matches!(docker.image("redis:7").await, Err(Error::Refused { .. })));
    let error = stack.find("half").await.expect_err("half an answer");
    assert!(matches!(error, Error::Connection { .. }) && error.retry() == Retry::Soon, "{error:?}");
    assert!(stack.find("words").await.expect_err("words").to_string().ends_with("a proxy's page"));
}

#[tokio::test]
async fn an_unmanaged_container_is_observed_and_never_touched() {
    let server = FakeDocker::start(|asked| match asked.what.as_str() {
        "GET /containers/theirs/json" => Some(Reply::Json(200, container("theirs", "other"))),
        // The engine takes the beginning of an id for a name, too.
        "GET /containers/ab/json" => Some(Reply::Json(200, container("long", "home"))),
        "GET /networks/theirs" | "GET /volumes/theirs" => Some(Reply::Json(
            200,
            json!({"Name": "theirs", "Id": "1", "Driver": "local", "Mountpoint": "/", "Labels": null, "Options": null,
                "Scope": "local"}),
        )),
        _ => None,
    });
    let docker = connect(&server).await;
    let stack = docker.stack("home");
    let live = stack.find("theirs").await.expect("asked").expect("there");
    assert!(!stack.owns(&live) && live.status == Status::Running && live.health(&[]) == Health::Healthy);
    assert_eq!(stack.find("ab").await.expect("asked"), None);
    let errors = [
        stack.start("theirs").await,
        stack.stop("theirs", SHORT).await,
        stack.kill("theirs").await,
        stack.rename("theirs", "ours").await,
        stack.remove("theirs").await.map(drop),
        stack.ensure_network("theirs").await.map(drop),
        stack.remove_network("theirs").await.map(drop),
        stack.remove_volume("theirs").await.map(drop),
    ];
    for (number, result) in errors.into_iter().enumerate() {
        let error = result.expect_err("another's container");
        assert!(matches!(error, Error::NotOurs { .. }) && error.hint().is_some(), "call {number}: {error:?}");
    }
    assert!(!stack.remove("ab").await.expect("asked"));
    assert!(server.calls().iter().all(|call| call.starts_with("GET ")), "{:?}", server.calls());
}

#[tokio::test]
async fn a_managed_container_is_changed_by_its_id() {
    let server = FakeDocker::start(|asked| match asked.what.as_str() {
        "GET /containers/ours/json" => Some(Reply::Json(200, container("ours", "home"))),
        "POST /containers/id-of-ours/start" => Some(Reply::Nothing(304)),
        "POST /containers/id-of-ours/rename" => {
            Some(message(409, "Conflict. The container name \"/b1\" is already in use"))
        }
        // It went in between.
        "DELETE /containers/id-of-ours" => Some(message(404, "No such container: id-of-ours")),
        _ => Some(Reply::Nothing(204)).filter(|_| asked.what.starts_with("POST ")),
    });
    let docker = connect(&server).await;
    let stack = docker.stack("home");
    stack.start("ours").await.expect("it runs already");
    stack.stop("ours", Duration::from_millis(1500)).await.expect("stopped");
    assert_eq!(server.asked().pop().expect("asked").query, "t=2");
    stack.kill("ours").await.expect("killed");
    assert!(matches!(stack.rename("ours", "b1").await, Err(Error::Conflict { .. })));
    assert!(matches!(stack.rename("ours", "../b1").await, Err(Error::Name { .. })));
    assert!(!stack.remove("ours").await.expect("gone"));
    assert_eq!(server.asked().pop().expect("asked").query, "v=true&force=false&link=false");
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict_with_both_engines() {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let docker = FakeDocker::start(|asked| {
        Some(message(409, "Conflict. The container name \"/x1\" is already in use"))
            .filter(|_| asked.what.contains("create"))
    });
    let podman = FakeDocker::podman(|asked| {
        let body = json!({"cause": "that name is already in use", "message": "creating container storage: the container name \"x1\" is already in use by 1. You have to remove that container: that name is already in use", "response": 500});
        Some(Reply::Json(500, body)).filter(|_| asked.what.contains("create"))
    });
    for server in [docker, podman] {
        let (run, plain) = (run(), Container { image: "redis:7".into(), ..Container::default() });
        let new = NewContainer { name: "x1", run: &run, container: &plain, labels: &labels };
        let error = connect(&server).await.stack("home").create(&new).await.expect_err("taken");
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        let asked = server.asked().pop().expect("asked");
        assert_eq!(asked.body["Labels"], json!({"a": "b", STACK_LABEL: "home"}));
    }
}

#[tokio::test]
async fn podman_is_known_and_its_forms_are_read() {
    let server = FakeDocker::podman(|asked| match asked.what.as_str() {
        "GET /containers/ours/json" => Some(Reply::Json(200, container("ours", "home"))),
        // One that does not run is no news to it.
        "POST /containers/id-of-ours/stop" => Some(Reply::Nothing(204)),
        "GET /distribution/r.example/redis:7/json" => Some(Reply::Text(404, "Not Found\n")),
        _ => None,
    });
    let docker = connect(&server).await;
    assert_eq!(docker.engine(), Engine::Podman);
    docker.stack("home").stop("ours", SHORT).await.expect("stopped");
    assert!(matches!(docker.remote_digest(&redis()).await, Err(Error::Unsupported { .. })));
    let lines = vec![json!({"status": "Download complete", "progressDetail": {}, "id": "1"})];
    pull(&FakeDocker::podman(pulling(lines, End::Whole))).await.0.expect("it arrives");
}

#[tokio::test]
async fn a_pull_reports_its_progress() {
    let lines = vec![
        json!({"status": "Pulling from redis", "id": "7"}),
        layer("Downloading", 40),
        layer("Downloading", 100),
        layer("Extracting", 10),
        json!({"status": "Status: Downloaded newer image for redis:7"}),
    ];
    let server = FakeDocker::start(pulling(lines, End::Whole));
    let (result, reported) = pull(&server).await;
    result.expect("it arrives");
    let numbers: Vec<_> = reported.iter().map(|it| (it.received, it.total)).collect();
    let whole = (100, Some(100));
    assert_eq!(numbers, [(0, None), (40, Some(100)), whole, whole, whole]);
    assert_eq!(reported[1].status, "Downloading");
    let asked = server.asked();
    let asked = asked.iter().find(|asked| asked.what == "POST /images/create").expect("asked");
    assert!(asked.query.contains("fromImage=r.example%2Fredis%3A7"), "{}", asked.query);
    assert_eq!(asked.credentials, None);
}

#[tokio::test]
async fn a_failed_pull_reports_its_cause_in_every_form() {
    let failed = |text: &str| json!({"errorDetail": {"message": text}, "error": text, "progressDetail": {}});
    for (lines, fault) in [
        (vec![failed("manifest unknown: manifest unknown")], Fault::Image),
        (vec![layer("Downloading", 1), failed("unauthorized: authentication required")], Fault::Denied),
        (vec![failed("write /x: no space left on device")], Fault::Full),
        // A form of which bollard keeps nothing.
        (vec![json!({"error": "something unknown"})], Fault::Other),
    ] {
        for server in [
            FakeDocker::start(pulling(lines.clone(), End::Whole)),
            FakeDocker::podman(pulling(lines.clone(), End::Whole)),
        ] {
            let error = pull(&server).await.0.expect_err("it fails");
            assert!(matches!(&error, Error::Refused { fault: live, .. } if *live == fault), "{error:?}");
        }
    }
    let text = "pull access denied for redis, repository does not exist or may require 'docker login'";
    let server =
        FakeDocker::start(move |asked| Some(message(404, text)).filter(|_| asked.what == "POST /images/create"));
    let error = pull(&server).await.0.expect_err("denied");
    assert!(error.to_string().contains("pull access denied"), "{error}");
}

#[tokio::test]
async fn a_pull_that_is_cut_off_is_an_error() {
    for (end, retry) in [(End::Cut, Retry::Soon), (End::Whole, Retry::Soon), (End::Stall, Retry::Soon)] {
        let server = FakeDocker::start(pulling(vec![layer("Downloading", 40)], end));
        let deadlines = if end == End::Stall { Deadlines { stall: SHORT, ..PATIENT } } else { PATIENT };
        let error = pull_within(&server, deadlines).await.0.expect_err("it never succeeds");
        assert_eq!(error.retry(), retry, "{error:?}");
        assert_eq!(matches!(error, Error::Deadline { .. }), end == End::Stall, "{error:?}");
    }
}

#[tokio::test]
async fn a_pull_is_cancelled_at_once() {
    let server = FakeDocker::start(pulling(vec![layer("Downloading", 40)], End::Stall));
    let docker = connect(&server).await;
    let cancel = CancellationToken::new();
    let on_progress = |progress: PullProgress| {
        if progress.received == 40 {
            cancel.cancel();
        }
    };
    let error = docker.pull(&redis(), &on_progress, &cancel).await.expect_err("called off");
    assert!(matches!(error, Error::Cancelled) && error.interrupted());
}

#[tokio::test]
async fn credentials_go_to_the_registry_that_they_are_for() {
    let server = FakeDocker::start(|asked| match asked.what.as_str() {
        "GET /distribution/r.example/redis:7/json" | "GET /distribution/other.example/x:1/json" => Some(Reply::Json(
            200,
            json!({"Descriptor": {"mediaType": "m", "digest": format!("sha256:{}", Digest::of("x")), "size": 1}, "Platforms": []}),
        )),
        _ => None,
    });
    // In plain base64 this password has both `+` and `/`, which the engine would not read.
    let config = r#"{"auths": {"r.example": {"username": "me", "password": "~~~???>>>~~~???>>>"}}}"#;
    std::fs::write(server.configuration().join("config.json"), config).expect("written");
    let docker = connect(&server).await;
    assert_eq!(docker.remote_digest(&redis()).await.expect("a digest"), Digest::of("x"));
    let credentials = server.asked().pop().expect("asked").credentials.expect("some");
    assert!(!credentials.contains(['+', '/']) && credentials.contains(['-', '_']), "{credentials}");
    let other = ImageName::parse("other.example/x:1").expect("a name");
    docker.remote_digest(&other).await.expect("a digest");
    assert_eq!(server.asked().pop().expect("asked").credentials, None);
}
