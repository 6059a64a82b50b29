//! A real llama-cpp-python behind a real gateway, as a unit and as a process: it loads, answers, and only its own
//! server starts again when its model's context changes.

use super::home::{Home, post};
use std::fs;
use std::process::Command;

const GATEWAY: u16 = 18470;
const SERVER: u16 = 18471;

/// Returns the home, if these tests were requested.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn home() -> Option<Home> {
    let asked = std::env::var_os("LLAMERO_LLAMA_CPP_PYTHON").is_some();
    if !asked {
        eprintln!("skipped: it is built from source; `make llama-cpp-python` builds one and runs its tests");
    }
    asked.then(Home::new)
}

fn manifest(home: &Home, runtime: &str, context: u32) -> String {
    format!(
        r#"version: 1
stack: python-lane
providers:
  py:
    engine: llama-cpp-python
    runtime: {runtime}
    port: {SERVER}
    command: ["{python}", -m, llama_cpp.server]
    settings: {{verbose: false}}
models:
  small: {{provider: py, source: "file:{model}", context: {context}}}
gateway:
  engine: litellm
  runtime: {runtime}
  port: {GATEWAY}
  command: ["{litellm}"]
  master_key: {{file: ~/.config/llamero/python-lane-key, generate: true}}
  retries: 0
policy: {{health: {{stable_for: 2s}}}}
"#,
        python = home.part("llama-cpp-python/bin/python"),
        litellm = home.part("litellm/bin/litellm"),
        model = home.part("gemma3/gemma3.gguf"),
    )
}

/// Returns the numbers of the processes whose command has both texts in it.
fn processes(one: &str, other: &str) -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid=,args="]).output().expect("ps runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbered = text.lines().filter(|line| line.contains(one) && line.contains(other));
    numbered.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

fn comes_up_answers_and_changes(runtime: &str) {
    let Some(home) = home() else { return };
    home.write("llamero.yaml", &manifest(&home, runtime, 1024));
    let plan = home.expect(0, &["plan"]);
    assert!(plan.contains("py-small"), "{plan}");
    home.expect(0, &["apply", "--yes"]);
    assert!(home.expect(0, &["apply", "--yes"]).contains("Nothing to do"));
    home.expect(0, &["status"]);
    let key = fs::read_to_string(home.under_home(".config/llamero/python-lane-key")).expect("a key");
    let body = r#"{"model":"small","messages":[{"role":"user","content":"The capital of France is"}],"max_tokens":4}"#;
    let answer = post(GATEWAY, "/v1/chat/completions", key.trim(), body);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"content\""), "{answer}");

    let port = SERVER.to_string();
    let server = || processes("llama_cpp.server", &port);
    let programs = home.part("litellm/bin");
    let gateway = || processes(&programs, &GATEWAY.to_string());
    let before = (server(), gateway());
    home.write("llamero.yaml", &manifest(&home, runtime, 2048));
    let plan = home.expect(0, &["plan"]);
    assert!(plan.contains("1024 → 2048"), "{plan}");
    home.expect(0, &["apply", "--yes"]);
    let after = (server(), gateway());
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1, "only the server of the model starts again");
    let answer = post(GATEWAY, "/v1/chat/completions", key.trim(), body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!((server(), gateway()), (Vec::new(), Vec::new()));
}

#[test]
#[ignore = "needs a systemd user manager and the test environment"]
fn it_comes_up_answers_and_changes_as_a_unit() {
    comes_up_answers_and_changes("systemd");
}

#[test]
#[ignore = "needs a systemd user manager and the test environment"]
fn it_comes_up_answers_and_changes_as_a_process() {
    comes_up_answers_and_changes("process");
}
