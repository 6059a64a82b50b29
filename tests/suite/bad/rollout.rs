//! Canary rollouts, through a gateway that reads its configuration as `LiteLLM` does and answers at once.

use super::home::{CommandOutput, Home, PATIENT, port, run, said, signal, until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Answers for the models of its configuration, and records the upstream of each request; `broken` and models whose key
/// is not in its environment do not answer.
const GATEWAY: &str = r#"#!/usr/bin/env python3
import http.server, json, os, re, sys
words = sys.argv[1:]
config = open(words[words.index("--config") + 1]).read()
port, log = int(words[words.index("--port") + 1]), os.path.join(os.path.dirname(os.path.abspath(__file__)), "asked")
routes = {}
for name, upstream, key in re.findall(r"model_name: (\S+)\n.*\n\s+model: openai/(\S+)\n.*\n\s+api_key: (\S+)", config):
    known = not key.startswith("os.environ/") or os.environ.get(key.removeprefix("os.environ/"))
    routes[name] = upstream if known else "broken"
class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self, status, said):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())
    def do_GET(self):
        self.answer(200, {"data": [{"id": name} for name in routes]})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        with open(log, "a") as file:
            file.write(f"{asked} {routes[asked]} beside {sorted(routes.values())}\n")
        bad = routes[asked] == "broken"
        self.answer(500 if bad else 200, {"error": {"message": "out of order"}} if bad else {})
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers).serve_forever()
"#;

struct Stack {
    home: Home,
    port: u16,
}

impl Stack {
    fn new() -> Self {
        let stack = Self { home: Home::new(), port: port() };
        let gateway = stack.home.write("gateway", GATEWAY);
        fs::set_permissions(&gateway, fs::Permissions::from_mode(0o755)).expect("a program");
        stack
    }

    /// Declares two models by their upstreams, and the duration of the canary's trial.
    fn revision(&self, [chat, other]: [&str; 2], key: &str, canary_for: &str) {
        self.home.manifest_with(
            &format!(
                "rollout: canary, canary: chat, canary_for: {canary_for}, {PATIENT}"
            ),
            &format!(
                "providers:\n  up: {{engine: openai, endpoint: \"http://127.0.0.1:1/v1\"{key}}}\nmodels:\n  chat: \
                 {{provider: up, source: {chat}}}\n  other: {{provider: up, source: {other}}}\ngateway:\n  engine: \
                 litellm\n  runtime: process\n  port: {}\n  command: [./gateway]\n  master_key: {{file: ~/key, generate: \
                 true}}\n",
                self.port
            ),
        );
    }

    fn apply(&self, key: Option<&str>) -> CommandOutput {
        let mut command = self.home.command(&["apply", "--yes"]);
        run(command.envs(key.map(|key| ("UP_KEY", key))))
    }

    /// Returns what was asked since the last call.
    fn asked(&self) -> Vec<String> {
        let path = self.home.path("asked");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_canary_route_is_tried_while_the_others_stay() {
    let stack = Stack::new();
    stack.revision(["a1", "b1"], "", "1s");
    stack.home.expect(0, &["apply", "--yes"]);
    assert_eq!(stack.asked(), [""; 0], "a first apply has nothing to try");
    stack.revision(["a2", "b2"], "", "1s");
    stack.home.expect(0, &["apply", "--yes"]).has(&["done try `chat` through process/gateway"]);
    let asked = stack.asked();
    assert!(asked.len() >= 3 && asked.iter().all(|line| line == "chat a2 beside ['a2', 'b1']"), "{asked:?}");
    stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);

    stack.revision(["broken", "b3"], "", "1s");
    let said = stack.home.expect(3, &["apply", "--yes"]);
    said.has(&["a request for `chat` was answered with 500: out of order", "the machine is on generation 2"]);
    assert_eq!(stack.asked(), ["chat broken beside ['b1', 'broken']".replace("b1", "b2")]);
    stack.revision(["a2", "b2"], "", "1s");
    stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);
}

#[test]
fn an_interrupted_canary_is_resumed() {
    let stack = Stack::new();
    stack.revision(["a1", "b1"], "", "60s");
    stack.home.expect(0, &["apply", "--yes"]);
    stack.revision(["a2", "b2"], "", "60s");
    let child = stack.home.begin(&["apply", "--yes"]);
    until("it is tried", || stack.home.path("asked").exists());
    signal(&child, Signal::INT);
    let stopped = said(child);
    assert_eq!(stopped.code, 8, "{stopped}");
    stopped.has(&["Interrupted"]);
    stack.asked();
    stack.revision(["a2", "b2"], "", "1s");
    stack.home.expect(0, &["apply", "--yes"]).has(&["try `chat`"]);
    assert!(stack.asked().iter().all(|line| line == "chat a2 beside ['a2', 'b1']"));
    stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);
}

#[test]
fn a_previous_route_keeps_its_key_during_the_canary() {
    let stack = Stack::new();
    stack.revision(["a1", "b1"], ", api_key: {env: UP_KEY}", "1s");
    assert_eq!(stack.apply(Some("previous-key-1")).code, 0);
    // The key is removed with the change; the file written earlier still has it.
    stack.revision(["a2", "b2"], "", "1s");
    let said = stack.apply(None);
    assert_eq!(said.code, 0, "{said}");
    assert!(stack.asked().iter().all(|line| line == "chat a2 beside ['a2', 'b1']"));
    let secrets = || fs::read_to_string(stack.home.record("secrets/gateway.env")).expect("a file");
    assert!(!secrets().contains("previous-key-1"), "the route that read it is gone");

    // Where the file must be written with it once more, it must be there once more.
    stack.revision(["a3", "b3"], ", api_key: {env: UP_KEY}", "1s");
    assert_eq!(stack.apply(Some("previous-key-2")).code, 0);
    stack.asked();
    stack.revision(["a4", "b4"], "", "1s");
    let manifest = fs::read_to_string(stack.home.path("llamero.yaml")).expect("text");
    let near = "  near: {engine: openai, endpoint: \"http://127.0.0.1:1/v1\", api_key: {file: ~/near}}\nmodels:\n";
    stack.home.write("near", "near-key-3");
    let manifest = manifest.replace("models:\n", near).replace("chat: {provider: up", "chat: {provider: near");
    stack.home.write("llamero.yaml", &manifest);
    let before = secrets();
    let refused = stack.apply(None);
    assert_eq!(refused.code, 1, "{refused}");
    refused.has(&["UP_KEY", "the previous routes need it until the canary has been tried"]);
    assert_eq!((secrets(), stack.asked()), (before, Vec::new()));
    let said = stack.apply(Some("previous-key-2"));
    assert_eq!(said.code, 0, "{said}");
    assert!(stack.asked().iter().all(|line| line == "chat a4 beside ['a4', 'b3']"));
    assert!(secrets().contains("near-key-3") && !secrets().contains("previous-key-2"));
}
