//! A real Docker of its own, beside real registries: one that is open and one that asks for a password.

use super::engine::{LOGIN, Private};
use crate::clock;
use crate::sample;
use llamero::resource::{
    Bytes, Container, Health, ImageName, Limits, Mount, MountSource, Publish, Run, RunFile, Runtime,
};
use llamero::systems::docker::{
    Deadlines, Docker, Engine, Error, Fault, Live, NewContainer, PullProgress, Stack, Status,
};
use llamero::systems::{Hint as _, Retry};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(2);

fn run(words: &[&str]) -> Run {
    sample::run(Runtime::Docker, words)
}

fn of(image: &str) -> Container {
    Container { image: image.to_owned(), ..Container::default() }
}

fn publish(host: u16) -> Publish {
    serde_json::from_value(json!({"host": host, "container": 80})).expect("a port")
}

async fn create(stack: Stack<'_>, name: &str, run: &Run, container: &Container) -> Result<(), Error> {
    let labels = BTreeMap::from([("llamero.resource".to_owned(), format!("container/{name}"))]);
    let made = stack.create(&NewContainer { name, run, container, labels: &labels }).await?;
    assert_eq!(made.warnings, Vec::<String>::new());
    Ok(())
}

/// Looks at a container until it is as wanted.
async fn until(stack: Stack<'_>, name: &str, declared: impl Fn(&Live) -> bool) -> Live {
    let look = async || stack.find(name).await.expect("asked").filter(|live| declared(live));
    clock::found(&format!("{name} is as wanted"), look).await
}

#[tokio::test]
#[ignore = "needs root and a real dockerd"]
async fn a_container_lives_and_goes() {
    let Some((private, docker)) = Private::start().await else { return };
    assert_eq!((docker.engine(), docker.is_rootless()), (Engine::Docker, false));
    let check = "HEALTHCHECK --interval=1s --retries=2 CMD [\"/bin/wget\", \"-qO-\", \"http://127.0.0.1:80/\"]";
    private.image("web:1", "hello", &[check, "CMD [\"/bin/sleep\", \"1000\"]"]);
    let secret = private.path("web.env");
    std::fs::write(&secret, "KEY=\"hunter2\"\n").expect("written");
    let stack = docker.stack("lane");
    assert!(stack.containers().await.expect("a list").is_empty());
    assert!(
        stack.ensure_network("lane-net").await.expect("made")
            && !stack.ensure_network("lane-net").await.expect("there")
    );

    // It is created, and starts only by its own call.
    let mut run =
        run(&["/bin/sh", "-c", "echo starting >&2; cat /run/secrets/web.env; exec /bin/httpd -f -vv -h /www"]);
    run.environment = [("A".to_owned(), "b c".to_owned())].into();
    run.environment_file = Some(RunFile(secret));
    run.limits = Limits { memory: Some(Bytes(64 << 20)), cpu_percent: Some(50) };
    assert!(stack.ensure_volume("lane-data").await.expect("made"));
    let volume = Mount { source: MountSource::Volume("lane-data".into()), target: "/data".into(), read_only: false };
    let container = Container {
        mounts: vec![volume],
        publish: vec![publish(8080)],
        network: Some("lane-net".into()),
        extra_hosts: [("there".to_owned(), "host-gateway".to_owned())].into(),
        shm_size: Some(Bytes(16 << 20)),
        user: Some("0:0".into()),
        read_only: true,
        ..of("web:1")
    };
    create(stack, "lane-web", &run, &container).await.expect("made");
    let made = stack.find("lane-web").await.expect("asked").expect("there");
    assert_eq!(
        (made.status, made.pid, made.exit_code, made.started_at.as_deref()),
        (Status::Created, None, None, None)
    );
    assert!(matches!(create(stack, "lane-web", &run, &container).await, Err(Error::Conflict { .. })));
    stack.start("lane-web").await.expect("started");
    stack.start("lane-web").await.expect("it runs already");
    let live = until(stack, "lane-web", |live| live.health(&[]) == Health::Healthy).await;
    assert_eq!((live.status, &live.limits, live.image.as_str()), (Status::Running, &run.limits, "web:1"));
    assert_eq!(live.image_id, docker.image("web:1").await.expect("asked").expect("there").id);
    assert!(live.pid.is_some() && live.started_at.is_some() && live.labels["llamero.resource"] == "container/lane-web");
    assert_eq!(stack.containers().await.expect("a list"), std::slice::from_ref(&live));
    assert!(docker.stack("other").containers().await.expect("a list").is_empty());

    // What it writes is read from both streams, and its secret is in no place that the engine shows.
    let lines = stack.last_lines("lane-web", 50).await.expect("lines");
    assert!(lines.contains(&"starting".to_owned()) && lines.contains(&"KEY=\"hunter2\"".to_owned()), "{lines:?}");
    assert_eq!(stack.last_lines("lane-web", 1).await.expect("lines").len(), 1);
    assert!(!private.client(&["inspect", "lane-web"]).contains("hunter2"));

    // It answers at the host's port, and sees what it was given.
    let asked = ["run", "--rm", "--network", "host", "web:1", "/bin/wget", "-qO-", "http://127.0.0.1:8080/"];
    assert_eq!(private.client(&asked), "hello");
    let inside = |words: &[&str]| private.client(&[&["exec", "lane-web", "/bin/busybox"], words].concat());
    assert!(inside(&["cat", "/etc/hosts"]).contains("\tthere"));
    assert!(inside(&["env"]).lines().any(|line| line == "A=b c"));
    assert!(inside(&["df", "-k", "/dev/shm"]).contains("16384"));
    inside(&["touch", "/data/written"]);
    inside(&["sh", "-c", "! touch /unwritten"]);

    // It is removed only by its own call.
    assert!(matches!(stack.remove("lane-web").await, Err(Error::Conflict { .. })), "it runs");
    assert!(matches!(stack.remove_volume("lane-data").await, Err(Error::Conflict { .. })), "it is in use");
    stack.rename("lane-web", "lane-web-old").await.expect("renamed");
    assert_eq!(stack.find("lane-web").await.expect("asked"), None);
    assert_eq!(stack.find(&live.id[..12]).await.expect("asked"), None, "an id is no name");
    stack.stop("lane-web-old", Duration::from_secs(1)).await.expect("stopped");
    stack.stop("lane-web-old", Duration::from_secs(1)).await.expect("it is stopped already");
    let ended = stack.find("lane-web-old").await.expect("asked").expect("there");
    assert_eq!((ended.status, ended.pid, &ended.id), (Status::Exited, None, &live.id));
    assert!(ended.exit_code.is_some(), "{ended:?}");
    assert!(stack.remove("lane-web-old").await.expect("removed") && !stack.remove("lane-web-old").await.expect("gone"));
    assert_eq!(stack.volumes().await.expect("a list"), ["lane-data"]);
    assert!(stack.remove_volume("lane-data").await.expect("removed"));
    assert!(stack.remove_network("lane-net").await.expect("removed"));
    assert!(!stack.remove_network("lane-net").await.expect("gone"));
}

#[tokio::test]
#[ignore = "needs root and a real dockerd"]
async fn failures_are_reported_and_unmanaged_containers_left_alone() {
    let Some((private, docker)) = Private::start().await else { return };
    let check = "HEALTHCHECK --interval=1s --retries=1 CMD [\"/bin/cat\", \"/none\"]";
    private.image("ailing:1", "", &[check]);
    private.image("plain:1", "", &[]);
    let stack = docker.stack("lane");

    // An unmanaged one is observed and left alone; so are its network and its volume.
    private.client(&["run", "-d", "--name", "theirs", "-p", "127.0.0.1:8080:80", "plain:1", "/bin/sleep", "1000"]);
    private.client(&["network", "create", "their-net"]);
    private.client(&["volume", "create", "their-data"]);
    let before = stack.find("theirs").await.expect("asked").expect("there");
    assert!(!stack.owns(&before));
    for result in [
        stack.stop("theirs", PATIENCE).await,
        stack.kill("theirs").await,
        stack.rename("theirs", "mine").await,
        stack.remove("theirs").await.map(drop),
        stack.ensure_network("their-net").await.map(drop),
        stack.remove_network("their-net").await.map(drop),
        stack.remove_volume("their-data").await.map(drop),
    ] {
        assert!(matches!(result, Err(Error::NotOurs { .. })), "{result:?}");
    }
    assert_eq!(stack.find("theirs").await.expect("asked"), Some(before));
    assert!(stack.volumes().await.expect("a list").is_empty());

    // A port that is taken; the container stays, and says why it does not run.
    let container = Container { publish: vec![publish(8080)], ..of("plain:1") };
    create(stack, "taken", &run(&["/bin/sleep", "1000"]), &container).await.expect("made");
    let error = stack.start("taken").await.expect_err("the port is taken");
    assert!(matches!(error, Error::Refused { fault: Fault::Port, .. }) && error.hint().is_some(), "{error:?}");
    let live = stack.find("taken").await.expect("asked").expect("there");
    assert!(matches!(live.health(&[]), Health::Unhealthy { why } if why.contains("already allocated")));
    assert!(stack.remove("taken").await.expect("removed"));

    // No such program, no such image, and GPUs where there is nothing that gives them.
    create(stack, "none", &run(&["/bin/none"]), &of("plain:1")).await.expect("made");
    let error = stack.start("none").await.expect_err("no program");
    assert!(matches!(error, Error::Refused { fault: Fault::Program, .. }), "{error:?}");
    let error = create(stack, "no-image", &run(&[]), &of("none:1")).await.expect_err("no image");
    assert!(matches!(error, Error::Refused { fault: Fault::Image, .. }), "{error:?}");
    assert_eq!(stack.find("no-image").await.expect("asked"), None);
    let wants_gpus = Run { gpus: llamero::resource::Gpus::All, ..run(&["/bin/sleep", "1000"]) };
    create(stack, "no-gpu", &wants_gpus, &of("plain:1")).await.expect("made");
    let started = stack.start("no-gpu").await;
    if !Path::new("/usr/bin/nvidia-container-runtime-hook").exists() {
        assert!(matches!(started, Err(Error::Refused { fault: Fault::Gpu, .. })), "{started:?}");
    }

    // One that ends by itself and is started again for ever, one that takes too much, and one whose check fails.
    create(stack, "short", &run(&["/bin/sh", "-c", "echo no luck; exit 3"]), &of("plain:1")).await.expect("made");
    stack.start("short").await.expect("started");
    let live = until(stack, "short", |live| live.status == Status::Restarting && live.restarts > 5).await;
    assert_eq!((live.exit_code, live.oom_killed), (Some(3), false));
    let lines = stack.last_lines("short", 5).await.expect("lines");
    assert_eq!(live.health(&lines), Health::unhealthy("it ended with exit code 3: no luck"));
    stack.stop("short", Duration::ZERO).await.expect("stopped");
    assert_eq!(stack.find("short").await.expect("asked").expect("there").status, Status::Exited);
    let mut greedy = run(&["/bin/sh", "-c", "a=x; while :; do a=$a$a; done"]);
    greedy.limits.memory = Some(Bytes(16 << 20));
    create(stack, "greedy", &greedy, &of("plain:1")).await.expect("made");
    stack.start("greedy").await.expect("started");
    let live = until(stack, "greedy", |live| live.status == Status::Restarting).await;
    assert!(live.oom_killed && live.limits.memory == Some(Bytes(16 << 20)), "{live:?}");
    assert_eq!(live.ended(), "it was killed because it took more than 16 MiB");
    create(stack, "ailing", &run(&["/bin/sleep", "1000"]), &of("ailing:1")).await.expect("made");
    stack.start("ailing").await.expect("started");
    let live = until(stack, "ailing", |live| matches!(live.health(&[]), Health::Unhealthy { .. })).await;
    assert!(live.health(&[]).to_string().contains("No such file"), "{live:?}");
    stack.kill("ailing").await.expect("killed");
    let live = until(stack, "ailing", |live| live.status == Status::Exited).await;
    assert_eq!((live.exit_code, live.oom_killed), (Some(137), false));
    assert!(matches!(stack.kill("ailing").await, Err(Error::Conflict { .. })));
}

#[tokio::test]
#[ignore = "needs root and a real dockerd"]
async fn images_come_from_registries() {
    let Some((private, docker)) = Private::start().await else { return };
    let name = |text: &str| ImageName::parse(text).expect("a name");
    let (tagged, cancel) = (name("127.0.0.1:5000/app:1"), CancellationToken::new());
    let push = |image: &str, note: &str| {
        private.image(image, note, &[]);
        private.client(&["push", image]);
        private.client(&["rmi", image]);
    };
    push("127.0.0.1:5000/app:1", "first");
    assert_eq!(docker.image("127.0.0.1:5000/app:1").await.expect("asked"), None);

    // By its tag, with progress.
    let reported = Mutex::new(Vec::<PullProgress>::new());
    let on_progress = |progress| reported.lock().expect("no panic").push(progress);
    let first = docker.pull(&tagged, &on_progress, &cancel).await.expect("it arrives");
    let last = reported.into_inner().expect("no panic").pop().expect("a report");
    assert!(last.total.is_some_and(|total| total > 500_000 && last.received == total), "{last:?}");
    assert_eq!(docker.images().await.expect("a list"), std::slice::from_ref(&first));
    let digest = docker.remote_digest(&tagged).await.expect("a digest");
    assert_eq!(first.digest_at(&tagged), Some(digest.clone()));
    assert_eq!(docker.pull(&tagged, &|_| {}, &cancel).await.expect("it is there"), first);

    // The tag moves: the registry shows it, and the local image stays until it is pulled.
    push("127.0.0.1:5000/app:1", "second");
    assert!(docker.remote_digest(&tagged).await.expect("a digest") != digest);
    let pinned = tagged.at(digest);
    let old = docker.pull(&pinned, &|_| {}, &cancel).await.expect("it arrives");
    assert_eq!(old.id, first.id);
    let new = docker.pull(&tagged, &|_| {}, &cancel).await.expect("it arrives");
    assert!(new.id != old.id && new.tags == ["127.0.0.1:5000/app:1"], "{new:?}");
    let stack = docker.stack("lane");
    create(stack, "pinned", &run(&["/bin/cat", "/www/index.html"]), &of(&pinned.to_string())).await.expect("made");
    stack.start("pinned").await.expect("started");
    until(stack, "pinned", |live| live.status == Status::Exited).await;
    assert_eq!(stack.last_lines("pinned", 5).await.expect("lines"), ["first"]);
    assert!(matches!(docker.remove_image(&old.id).await, Err(Error::Conflict { .. })), "it is in use");
    assert!(stack.remove("pinned").await.expect("removed") && docker.remove_image(&old.id).await.expect("removed"));
    assert!(!docker.remove_image(&old.id).await.expect("gone"));

    // A missing image, and a registry that is off.
    for (text, fault) in [
        ("127.0.0.1:5000/app:2", Fault::Image),
        ("127.0.0.1:5000/none:1", Fault::Image),
        ("127.0.0.1:5999/app:1", Fault::Transient),
    ] {
        let error = docker.pull(&name(text), &|_| {}, &cancel).await.expect_err(text);
        assert!(matches!(&error, Error::Refused { fault: live, .. } if *live == fault), "{error:?}");
        assert!(docker.remote_digest(&name(text)).await.is_err(), "{text}");
    }

    // A registry that wants a password gets the one that Docker's own configuration has, with both calls.
    std::fs::create_dir_all(private.path("login")).expect("made");
    std::fs::write(
        private.path("login/config.json"),
        LOGIN.replace(r#""username": "me", "password": "a?b>c~d""#, r#""auth": "bWU6YT9iPmN+ZA==""#),
    )
    .expect("written");
    push("127.0.0.1:5001/app:1", "closed");
    let closed = name("127.0.0.1:5001/app:1");
    let error = docker.pull(&closed, &|_| {}, &cancel).await.expect_err("no login");
    assert!(matches!(error, Error::Refused { fault: Fault::Denied, .. }) && error.hint().is_some(), "{error:?}");
    assert!(docker.remote_digest(&closed).await.is_err());
    std::fs::create_dir_all(private.path("client")).expect("made");
    std::fs::write(private.path("client/config.json"), LOGIN).expect("written");
    let digest = docker.remote_digest(&closed).await.expect("a digest");
    let image = docker.pull(&closed, &|_| {}, &cancel).await.expect("it arrives");
    assert_eq!(image.digest_at(&closed), Some(digest));
}

#[tokio::test]
#[ignore = "needs root and a real dockerd"]
async fn a_restarted_daemon_is_reconnected() {
    let Some((private, docker)) = Private::start().await else { return };
    private.image("plain:1", "", &[]);
    let stack = docker.stack("lane");
    create(stack, "long", &run(&["/bin/sleep", "1000"]), &of("plain:1")).await.expect("made");
    stack.start("long").await.expect("started");

    // It goes in the middle of a call: `sleep` as a container's first process ignores every signal but the last.
    let stopping = stack.stop("long", SOON);
    let going = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        private.hold(true);
    };
    let (stopped, ()) = futures_util::future::join(stopping, going).await;
    let error = stopped.expect_err("the daemon went");
    assert!(matches!(error, Error::Connection { .. }) && error.retry() == Retry::Soon, "{error:?}");
    let error = stack.find("long").await.expect_err("no listener");
    assert_eq!(error.retry(), Retry::Soon, "{error:?}");
    let error = Docker::connect_from(&private.surroundings(), Deadlines::default()).await.expect_err("no listener");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");

    // The connection that there was serves again, and nothing is lost.
    private.hold(false);
    drop(private.connect().await);
    let live = stack.find("long").await.expect("asked").expect("there");
    assert!(stack.owns(&live), "{live:?}");
    if live.status != Status::Running {
        stack.start("long").await.expect("started");
    }
    until(stack, "long", |live| live.status == Status::Running).await;
    stack.kill("long").await.expect("killed");
    until(stack, "long", |live| live.status == Status::Exited).await;
    assert!(stack.remove("long").await.expect("removed"));
}

#[tokio::test]
#[ignore = "needs root and a real podman"]
async fn podman_is_used_as_docker_is() {
    let Some((private, docker)) = Private::start_podman().await else { return };
    assert_eq!(docker.engine(), Engine::Podman);
    let (stack, cancel) = (docker.stack("lane"), CancellationToken::new());
    // Podman ignores the tag of what it imports.
    private.image("localhost/plain", "hello", &[]);
    private.client(&["tag", "localhost/plain:latest", "127.0.0.1:5000/app:1"]);
    private.client(&["push", "127.0.0.1:5000/app:1"]);
    for name in ["127.0.0.1:5000/app:1", "localhost/plain:latest"] {
        assert!(docker.remove_image(name).await.expect("removed") && !docker.remove_image(name).await.expect("gone"));
    }
    let name = |text: &str| ImageName::parse(text).expect("a name");
    let app = name("127.0.0.1:5000/app:1");
    let image = docker.pull(&app, &|_| {}, &cancel).await.expect("it arrives");
    let pinned = app.at(image.digest_at(&app).expect("a digest"));
    assert_eq!(docker.pull(&pinned, &|_| {}, &cancel).await.expect("it is there").id, image.id);
    let error = docker.pull(&name("127.0.0.1:5000/app:2"), &|_| {}, &cancel).await.expect_err("no such tag");
    assert!(matches!(error, Error::Refused { fault: Fault::Image, .. }), "{error:?}");
    assert!(matches!(docker.remote_digest(&app).await, Err(Error::Unsupported { .. })));

    let mut run = run(&["/bin/sh", "-c", "echo hello; exec /bin/sleep 1000"]);
    run.limits = Limits { memory: Some(Bytes(64 << 20)), cpu_percent: Some(50) };
    assert!(stack.ensure_volume("lane-data").await.expect("made"));
    let volume = Mount { source: MountSource::Volume("lane-data".into()), target: "/data".into(), read_only: false };
    let container = Container { mounts: vec![volume], network: Some("host".into()), ..of(&app.to_string()) };
    create(stack, "lane-app", &run, &container).await.expect("made");
    assert!(matches!(create(stack, "lane-app", &run, &container).await, Err(Error::Conflict { .. })));
    assert!(matches!(create(stack, "none", &run, &of("localhost/none:1")).await, Err(Error::Refused { .. })));
    assert_eq!(stack.find("lane-app").await.expect("asked").expect("there").status, Status::Created);
    stack.start("lane-app").await.expect("started");
    stack.start("lane-app").await.expect("it runs already");
    let live = until(stack, "lane-app", |live| live.status == Status::Running).await;
    assert_eq!((live.health(&[]), &live.limits), (Health::Healthy, &run.limits));
    assert_eq!(stack.containers().await.expect("a list"), std::slice::from_ref(&live));
    assert_eq!(stack.last_lines("lane-app", 5).await.expect("lines"), ["hello"]);
    assert!(matches!(docker.stack("other").remove("lane-app").await, Err(Error::NotOurs { .. })));
    stack.rename("lane-app", "lane-old").await.expect("renamed");
    stack.stop("lane-old", Duration::from_secs(1)).await.expect("stopped");
    stack.stop("lane-old", Duration::from_secs(1)).await.expect("it is stopped already");
    let live = until(stack, "lane-old", |live| live.status == Status::Exited).await;
    assert_eq!(live.exit_code, Some(137));
    assert!(stack.remove("lane-old").await.expect("removed") && !stack.remove("lane-old").await.expect("gone"));
    assert_eq!(stack.volumes().await.expect("a list"), ["lane-data"]);
    assert!(stack.remove_volume("lane-data").await.expect("removed"));
}
