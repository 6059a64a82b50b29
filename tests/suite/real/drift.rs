//! Drift that only the real parts can show: drop-ins, limits, a socket that is down, a context that is not honoured,
//! and what becomes of a process that outlives its bus.

use super::engine::Private;
use super::home::{Home, property};
use crate::clock;
use llamero::live::{Live, Observation, Presence, RunState};
use llamero::observe::{Depth, directories, observe};
use llamero::reconcile::Stack;
use llamero::resolve::{Desired, Policy};
use llamero::resource::{Kind, Resource, ResourceId, Runtime, Spec};
use llamero::systems::Handle;
use llamero::systems::docker::{Deadlines, Docker};
use std::fs;
use std::path::Path;
use std::process::Command;

fn systemctl(words: &[&str]) {
    let status = Command::new("systemctl").arg("--user").args(words).status().expect("systemctl runs");
    assert!(status.success(), "systemctl --user {}", words.join(" "));
}

/// Returns a text without line breaks, so that words can be looked for across them.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
#[ignore = "needs a systemd user manager"]
fn a_drop_in_of_the_users_is_reported_and_never_removed() {
    let home = Home::new();
    let text = "version: 1\nstack: drifts\npolicy: {health: {stable_for: 0s}}\nservices:\n  page: {runtime: systemd, command: \
                [/bin/sleep, \"1000\"], env: {WORD: one}, limits: {memory: 64MiB, cpus: 0.5}}\n";
    home.write("llamero.yaml", text);
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);

    let folder = home.under_home(".config/systemd/user/drifts-page.service.d");
    fs::create_dir_all(&folder).expect("a folder");
    let drop_in = folder.join("mine.conf");
    let mine = "[Service]\nExecStart=\nExecStart=/bin/sleep 2000\nEnvironment=WORD=two\nMemoryMax=32M\n";
    fs::write(&drop_in, mine).expect("written");
    systemctl(&["daemon-reload"]);
    systemctl(&["restart", "drifts-page.service"]);
    let planned = flat(&home.expect(0, &["plan"]));
    for words in [
        "mine.conf sets Environment, ExecStart, MemoryMax",
        "systemctl --user revert drifts-page.service",
        "services.page.limits.memory: 64 MiB declared, 32 MiB in force",
        "command line is not in force as declared",
        "services.page.env.WORD is not in force as declared",
        "1 left as found",
    ] {
        assert!(planned.contains(words), "{words} in\n{planned}");
    }
    assert!(!planned.contains("limits.cpus"), "{planned}");
    assert!(home.expect(0, &["plan", "--json"]).contains("\"overridden\""));
    assert!(flat(&home.expect(2, &["diff"])).contains("changed outside llamero"));
    let status = flat(&home.expect(2, &["status"]));
    assert!(status.contains("changed outside llamero") && !status.contains("`llamero apply` corrects it"), "{status}");
    let before = property("drifts-page.service", "InvocationID");
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(fs::read_to_string(&drop_in).expect("it is left"), mine);
    assert_eq!(property("drifts-page.service", "InvocationID"), before);

    // The remedy, followed, is all there is to do.
    systemctl(&["revert", "drifts-page.service"]);
    systemctl(&["restart", "drifts-page.service"]);
    home.expect(0, &["status"]);

    // A limit that is set while it runs is a drop-in of the manager's own.
    systemctl(&["set-property", "drifts-page.service", "CPUQuota=10%"]);
    let status = flat(&home.expect(2, &["status"]));
    assert!(status.contains("services.page.limits.cpus: 50% declared, 10% in force"), "{status}");
    systemctl(&["revert", "drifts-page.service"]);
    home.expect(0, &["status"]);
    home.expect(0, &["down", "--purge", "--yes"]);
}

#[test]
#[ignore = "needs a systemd user manager"]
fn a_unit_whose_file_was_removed_while_it_crashed_is_made_anew() {
    let home = Home::new();
    let up = home.write("up", "");
    let text = format!(
        "version: 1\nstack: orphaned\npolicy: {{health: {{stable_for: 0s}}}}\nservices:\n  page: {{runtime: systemd, \
         command: [/bin/sh, -c, \"[ -e {} ] && exec sleep 1000; exit 1\"]}}\n",
        up.display()
    );
    home.write("llamero.yaml", &text);
    home.expect(0, &["apply", "--yes"]);
    fs::remove_file(&up).expect("removed");
    systemctl(&["kill", "--signal=KILL", "orphaned-page.service"]);
    clock::until("it waits to be restarted", || property("orphaned-page.service", "SubState") == "auto-restart");
    let unit = home.under_home(".config/systemd/user/orphaned-page.service");
    fs::remove_file(&unit).expect("removed");
    // Without a process and without a file, only the manager knows whose it is.
    let planned = flat(&home.expect(0, &["plan"]));
    assert!(planned.contains("unit/orphaned-page") && !planned.contains("not managed"), "{planned}");
    home.write("up", "");
    home.expect(0, &["apply", "--yes"]);
    assert!(unit.exists());
    home.expect(0, &["status"]);
    home.expect(0, &["down", "--purge", "--yes"]);
}

#[test]
#[ignore = "needs a systemd user manager"]
fn an_instance_left_of_a_server_that_hands_nothing_off_is_removed() {
    let home = Home::new();
    let text = "version: 1\nstack: handless\npolicy: {health: {stable_for: 0s}}\nservices:\n  page: {runtime: systemd, \
                command: [/bin/sleep, \"1000\"]}\n";
    home.write("llamero.yaml", text);
    home.expect(0, &["apply", "--yes"]);
    let units = home.under_home(".config/systemd/user");
    let (unit, instance) = (units.join("handless-page.service"), units.join("handless-page-3.service"));
    fs::copy(unit, &instance).expect("copied");
    systemctl(&["daemon-reload"]);
    let before = property("handless-page.service", "InvocationID");
    let planned = flat(&home.expect(0, &["plan"]));
    assert!(planned.contains("an interrupted hand-off left an orphaned instance"), "{planned}");
    home.expect(0, &["apply", "--yes"]);
    assert!(!instance.exists());
    assert_eq!(property("handless-page.service", "InvocationID"), before);
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    home.expect(0, &["down", "--purge", "--yes"]);
}

#[tokio::test]
#[ignore = "needs a systemd user manager"]
async fn a_process_outlives_its_manager_and_its_bus() {
    let directories = directories(Path::new("/"));
    let stack = Stack::open("outlives", &directories, env!("CARGO_BIN_EXE_llamero").into()).expect("a stack");
    let folder = &directories.units();
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("outlives-page.service"), "[Service]\nExecStart=/bin/sleep 1000\n").expect("written");
    systemctl(&["daemon-reload"]);
    systemctl(&["start", "outlives-page.service"]);
    let id = ResourceId::new(Kind::Unit, "outlives-page");
    let run = crate::sample::run(Runtime::Systemd, &["/bin/sleep", "1000"]);
    let resource = Resource::new(id.clone(), "services.page", Spec::Run(Box::new(run)));
    let mut desired = Desired::nothing("outlives", Policy::default());
    desired.resources.insert(id.clone(), resource);
    let runs = |observed: &Observation| matches!(&observed.resources[&id], Presence::Present(Live::Run(run)) if run.phase == RunState::Running);
    let until_it_runs = async |what: &str| {
        let look = async || runs(&observe(&stack.systems, &desired, &[], Depth::State).await);
        clock::until_async(what, look).await;
    };
    until_it_runs("at first").await;
    systemctl(&["daemon-reexec"]);
    until_it_runs("after the manager executed itself anew").await;
    let before = property("dbus.service", "InvocationID");
    systemctl(&["restart", "dbus.service"]);
    assert_ne!(property("dbus.service", "InvocationID"), before, "there is another bus");
    until_it_runs("after the bus was restarted").await;
    systemctl(&["stop", "outlives-page.service"]);
    fs::remove_file(folder.join("outlives-page.service")).expect("removed");
    systemctl(&["daemon-reload"]);
}

#[test]
#[ignore = "needs a systemd user manager and the test environment"]
fn a_context_that_llama_cpp_does_not_honour_is_reported() {
    let home = Home::new();
    let manifest = |context: u32| {
        format!(
            "version: 1\nstack: lowers\npolicy: {{health: {{stable_for: 0s}}}}\nproviders:\n  llama-cpp: {{engine: llama-cpp, \
             runtime: systemd, port: 18440, command: [\"{}\", \"{}/manifests/quickstart/llama_server.py\"]}}\nmodels:\n  \
             tiny: {{provider: llama-cpp, source: \"file:{}\", context: {context}, parallel: 2}}\n",
            home.part("llama/bin/python"),
            env!("CARGO_MANIFEST_DIR"),
            home.part("gemma3/gemma3.gguf"),
        )
    };
    home.write("llamero.yaml", &manifest(2048));
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);
    assert!(home.expect(0, &["observe"]).contains("\"--ctx-size\": \"1024\""), "each of two slots has its half");
    // The model was trained for 32768 tokens.
    home.write("llamero.yaml", &manifest(98304));
    home.expect(0, &["apply", "--yes"]);
    for (code, verb) in [(0, "plan"), (2, "status"), (2, "diff")] {
        let text = flat(&home.expect(code, &[verb]));
        assert!(text.contains("models.tiny.context: 98304 declared, 65536 in force"), "{verb}: {text}");
    }
    // There is nothing that an apply could do about it.
    let before = property("lowers-llama-cpp-tiny.service", "InvocationID");
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(property("lowers-llama-cpp-tiny.service", "InvocationID"), before);
    home.expect(0, &["down", "--purge", "--yes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
async fn a_gateways_socket_that_is_down_is_drift_and_corrected() {
    let upstream = crate::fakes::upstream::FakeUpstream::start().await;
    let home = Home::new();
    home.write(
        "llamero.yaml",
        &format!(
            "version: 1\nstack: plugs\npolicy: {{health: {{timeout: 60s, stable_for: 0s}}}}\nproviders:\n  up: {{engine: \
             openai, endpoint: \"{}\"}}\nmodels:\n  chat: {{provider: up, source: fake}}\ngateway:\n  engine: litellm\n  \
             runtime: systemd\n  port: 18441\n  command: [\"{}\"]\n  master_key: {{file: ~/.config/llamero/plugs-key, \
             generate: true}}\n",
            upstream.endpoint,
            home.part("litellm/bin/litellm"),
        ),
    );
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);
    systemctl(&["stop", "plugs-gateway.socket"]);
    assert_eq!(property("plugs-gateway.service", "ActiveState"), "active");
    let status = flat(&home.expect(2, &["status"]));
    assert!(status.contains("its socket does not listen: it is inactive"), "{status}");
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(property("plugs-gateway.socket", "ActiveState"), "active");
    home.expect(0, &["status"]);
    home.expect(0, &["down", "--purge", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a real dockerd"]
async fn limits_of_a_container_that_were_changed_are_drift_and_corrected() {
    let Some((engine, _)) = Private::start().await else { return };
    engine.image("plain:1", "", &[]);
    let home = Home::new().with("DOCKER_HOST", &format!("unix://{}", engine.path("docker.sock").display()));
    home.write(
        "llamero.yaml",
        "version: 1\nstack: limits\npolicy: {health: {stable_for: 0s}}\nservices:\n  page: {runtime: docker, image: \
         \"plain:1\", args: [/bin/sleep, \"1000\"], limits: {memory: 64MiB, cpus: 0.5}}\n",
    );
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);
    let id = || engine.client(&["inspect", "--format", "{{.Id}}", "limits-page"]);
    let before = id();
    engine.client(&["update", "--cpus", "0.25", "limits-page"]);
    let status = flat(&home.expect(2, &["status"]));
    assert!(status.contains("services.page.limits.cpus: 50% declared, 25% in force"), "{status}");
    home.expect(0, &["apply", "--yes"]);
    assert_ne!(id(), before, "another container took its place");
    home.expect(0, &["status"]);

    // A process that outlives its engine finds it again.
    let surroundings = engine.surroundings();
    let docker = Handle::new(move || {
        let surroundings = surroundings.clone();
        async move { Docker::connect_from(&surroundings, Deadlines::default()).await }
    });
    let directories = directories(Path::new("/"));
    let stack = Stack::open("limits", &directories, env!("CARGO_BIN_EXE_llamero").into()).expect("a stack");
    let systems = stack.systems.with_docker(docker);
    let id = ResourceId::new(Kind::Container, "limits-page");
    let run = crate::sample::run(Runtime::Docker, &["/bin/sleep", "1000"]);
    let mut desired = Desired::nothing("limits", Policy::default());
    desired.resources.insert(id.clone(), Resource::new(id.clone(), "services.page", Spec::Run(Box::new(run))));
    let look = async || observe(&systems, &desired, &[], Depth::State).await.resources[&id].clone();
    assert!(matches!(look().await, Presence::Present(_)));
    engine.hold(true);
    let until = async |what: &str, holds: fn(&Presence) -> bool| {
        clock::until_async(what, async || holds(&look().await)).await;
    };
    until("the daemon went", |presence| matches!(presence, Presence::Unknown(_))).await;
    engine.hold(false);
    until("the daemon came back", |presence| matches!(presence, Presence::Present(_))).await;
    home.expect(0, &["down", "--purge", "--yes"]);
}
