//! A real vLLM on the CPU behind a real gateway: it loads, answers, fails with a reported cause, is rolled back, and
//! leaves nothing running.

use super::home::{Home, post, property};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const GATEWAY: u16 = 18460;
const SERVER: u16 = 18461;
const UNIT: &str = "vllm-lane-vllm-tiny.service";

/// Returns the home, if these tests were requested.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn home() -> Option<Home> {
    let asked = std::env::var_os("LLAMERO_VLLM").is_some();
    if !asked {
        eprintln!("skipped: a vLLM takes 6 GB and its tests minutes; `make vllm` installs one and runs them");
    }
    asked.then(Home::new)
}

/// Returns the provider and its model; `runtime` has it run.
fn provider(home: &Home, runtime: &str) -> String {
    format!(
        r#"version: 1
stack: vllm-lane
providers:
  vllm:
    engine: vllm
    runtime: {runtime}
    port: {SERVER}
    command: ["{vllm}", serve]
    settings: {{dtype: bfloat16, kv_cache_memory_bytes: 16MiB}}
    env: {{HF_HUB_OFFLINE: "1"}}
models:
  tiny:
    provider: vllm
    source: "file:{model}"
    context: 1024
policy: {{health: {{stable_for: 3s}}}}
"#,
        vllm = home.part("vllm/venv/bin/vllm"),
        model = home.part("vllm/tiny"),
    )
}

/// Returns the processes of a vLLM with their commands, by their numbers.
fn processes() -> BTreeMap<u32, String> {
    let output = Command::new("ps").args(["-eo", "pid=,args="]).output().expect("ps runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbered = text.lines().filter_map(|line| line.trim().split_once(' '));
    let programs = super::parts::part("vllm/venv/bin").display().to_string();
    let is_vllm = |command: &str| command.contains("VLLM::") || command.contains(&programs);
    let live = numbered.filter(|(_, command)| is_vllm(command));
    live.map(|(pid, command)| (pid.parse().expect("a number"), command.to_owned())).collect()
}

/// Waits until `holds`, and fails with the processes there are when that takes too long.
#[track_caller]
fn until(seconds: u64, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {:#?}", processes());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Kills the process whose command has `part` in it: all that was there ends, and another server comes in its place.
#[track_caller]
fn it_comes_back_after_the_death_of(part: &str) {
    let before = processes();
    assert!(before.len() >= 3, "{before:#?}");
    let (pid, _) = before.iter().find(|(_, command)| command.contains(part)).expect("it runs");
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill runs").success());
    until(60, || processes().keys().all(|pid| !before.contains_key(pid)));
    until(180, || TcpStream::connect(("127.0.0.1", SERVER)).is_ok());
    let answer = ask(SERVER, "none");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Asks the server, by its own name for its model.
fn ask(port: u16, key: &str) -> String {
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"Hello"}],"max_tokens":4}"#;
    post(port, "/v1/chat/completions", key, body)
}

#[test]
#[ignore = "needs a systemd user manager and a vLLM"]
fn vllm_behind_the_gateway_is_applied_rolled_back_and_removed() {
    let Some(home) = home() else { return };
    let gateway = format!(
        "gateway:\n  engine: litellm\n  runtime: systemd\n  port: {GATEWAY}\n  command: [\"{}\"]\n  \
         master_key: {{file: ~/.config/llamero/vllm-key, generate: true}}\n",
        home.part("litellm/bin/litellm"),
    );
    let good = provider(&home, "systemd") + &gateway;
    home.write("llamero.yaml", &good);
    home.expect(0, &["apply", "--yes"]);
    assert!(home.expect(0, &["apply", "--yes"]).contains("Nothing to do"));
    home.expect(0, &["status"]);
    let key = fs::read_to_string(home.under_home(".config/llamero/vllm-key")).expect("a key").trim().to_owned();
    let answer = ask(GATEWAY, &key);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("assistant"), "{answer}");

    // When its engine dies, it ends with success; when it dies itself, its engine lives on.
    it_comes_back_after_the_death_of("VLLM::EngineCore");
    it_comes_back_after_the_death_of("vllm serve");

    // Bad changes are rolled back with their cause reported; the old server answers.
    for (part, bad, cause) in [
        ("vllm/tiny\"", "vllm/not-there\"", "HFValidationError: "),
        ("context: 1024", "context: 131072", "ValueError: To serve at least one request"),
        ("context: 1024", "context: 1024000", "Value error, User-specified max_model_len"),
    ] {
        home.write("bad.yaml", &good.replacen(part, bad, 1));
        let said = home.expect(3, &["apply", "bad.yaml", "--yes"]);
        assert!(said.contains(cause) && said.contains("was rolled back"), "{said}");
        let answer = ask(GATEWAY, &key);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        home.expect(0, &["status"]);
    }

    home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(property(UNIT, "LoadState"), "not-found");
    until(5, || processes().is_empty());
}

#[test]
#[ignore = "needs a vLLM"]
fn vllm_as_a_process_starts_again_and_stops_whole() {
    let Some(home) = home() else { return };
    home.write("llamero.yaml", &provider(&home, "process"));
    home.expect(0, &["apply", "--yes"]);
    it_comes_back_after_the_death_of("VLLM::Worker");
    it_comes_back_after_the_death_of("vllm serve");
    home.expect(0, &["status"]);

    // The cause stands far above the last lines.
    let model = home.path("no-weights");
    fs::create_dir(&model).expect("made");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(Path::new(&home.part("vllm/tiny")).join(name), model.join(name)).expect("copied");
    }
    let bad = provider(&home, "process").replace(&home.part("vllm/tiny"), &model.display().to_string());
    home.write("bad.yaml", &bad);
    let said = home.expect(3, &["apply", "bad.yaml", "--yes"]);
    assert!(said.contains("Cannot find any model weights"), "{said}");
    assert!(ask(SERVER, "none").starts_with("HTTP/1.1 200"));

    home.expect(0, &["down", "--purge", "--yes"]);
    until(5, || processes().is_empty());
}
