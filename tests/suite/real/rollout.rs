//! Canary rollouts through a real gateway under constant load.

use super::home::{Home, post};
use super::load::{Clients, Load, Target};
use crate::clock;
use crate::fakes::upstream::{BROKEN, FakeUpstream};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PORT: u16 = 18440;
const CLIENTS: Clients = Clients { fresh: 2, kept: 2, streaming: 1, thinks: Duration::from_millis(400) };

/// Writes the manifest with the upstream models that the two routes lead to.
fn manifest(home: &Home, upstream: &FakeUpstream, chat: &str, other: &str) {
    home.write(
        "llamero.yaml",
        &format!(
            "version: 1\nstack: rollout\npolicy: {{rollout: canary, canary: chat, canary_for: 6s, health: {{timeout: 60s, \
             stable_for: 1s}}}}\nproviders:\n  up: {{engine: openai, endpoint: \"{}\"}}\nmodels:\n  chat: {{provider: up, \
             source: {chat}, fallbacks: [other]}}\n  other: {{provider: up, source: {other}}}\ngateway:\n  engine: litellm\n  \
             runtime: systemd\n  port: {PORT}\n  command: [\"{}\"]\n  retries: 0\n  master_key: {{file: \
             ~/.config/llamero/rollout-key, generate: true}}\n",
            upstream.endpoint,
            home.part("litellm/bin/litellm"),
        ),
    );
}

/// Waits until the upstream was asked for a model.
async fn asked(upstream: &FakeUpstream, model: &str) -> Instant {
    clock::found(&format!("a request for {model}"), async || upstream.asked_for(model).first().copied()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
#[expect(clippy::print_stderr, reason = "what was measured is worth seeing")]
async fn one_route_is_tried_before_the_others_change() {
    let upstream = FakeUpstream::start().await;
    let home = Home::new();
    manifest(&home, &upstream, "chat-1", "other-1");
    home.expect(0, &["apply", "--yes"]);
    let key = fs::read_to_string(home.under_home(".config/llamero/rollout-key")).expect("a key").trim().to_owned();
    let ask = |model: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],"max_tokens":2}}"#);
        post(PORT, "/v1/chat/completions", &key, &body)
    };
    let load = Load::start(&Target { port: PORT, key: key.clone(), model: "other".to_owned() }, CLIENTS);

    // Both change. One is tried for as long as it was said; the other is asked for as before meanwhile.
    manifest(&home, &upstream, "chat-2", "other-2");
    let planned = home.expect(0, &["plan"]);
    assert!(planned.contains("the route of `chat` changes first"), "{planned}");
    let said = home.expect(0, &["apply", "--yes"]);
    assert!(said.contains("done try `chat` through unit/rollout-gateway in"), "{said}");
    let (first, second) = (upstream.asked_for("chat-2")[0], asked(&upstream, "other-2").await);
    assert!(second - first >= Duration::from_secs(6), "{:?}", second - first);
    let meanwhile = upstream.asked_for("other-1").into_iter().filter(|at| (first..second).contains(at)).count();
    assert!(meanwhile > 5, "{meanwhile}");
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));

    // The canary does not answer: it is rolled back, and the other never changed.
    manifest(&home, &upstream, BROKEN, "other-3");
    let said = home.expect(3, &["apply", "--yes"]);
    assert!(said.contains("a request for `chat` was answered with 500") && said.contains("out of order"), "{said}");
    assert!(upstream.asked_for("other-3").is_empty());
    let before = upstream.asked_for("chat-2").len();
    assert!(ask("chat").contains("word0"));
    assert_eq!(upstream.asked_for("chat-2").len(), before + 1);

    // llamero dies while it tries: the next one tries again, and goes on.
    manifest(&home, &upstream, "chat-4", "other-4");
    let mut apply = home.command(&["apply", "--yes"]).stderr(Stdio::null()).spawn().expect("it runs");
    asked(&upstream, "chat-4").await;
    apply.kill().expect("killed");
    apply.wait().expect("gone");
    assert!(upstream.asked_for("other-4").is_empty());
    let said = home.expect(0, &["apply", "--yes"]);
    assert!(said.contains("try `chat`"), "{said}");
    asked(&upstream, "other-4").await;
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));

    // Where the one does not change there is nothing to try, and another can be named.
    manifest(&home, &upstream, "chat-4", "other-5");
    let said = home.expect(0, &["plan"]);
    assert!(said.contains("the route of `chat` does not change"), "{said}");
    assert!(home.expect(1, &["plan", "--canary", "others"]).contains("did you mean `other`?"));
    home.expect(0, &["plan", "--canary", "other", "-o", "saved"]);
    assert!(
        home.expect(1, &["apply", "saved", "--canary", "chat"]).contains("a saved plan contains its canary already")
    );
    assert!(home.expect(0, &["apply", "saved", "--rehearse"]).contains("Rehearsed"));
    let said = home.expect(0, &["apply", "saved"]);
    assert!(said.contains("try `other`"), "{said}");

    let presence = load.end().await;
    eprintln!("| what | requests | failed | cut | slowest first byte | longest pause |");
    eprintln!("|---|---|---|---|---|---|");
    eprintln!("| 4 changes, one route first {presence}");
    assert_eq!((&presence.failures, &presence.cut), (&vec![], &vec![]), "no client noticed");
    home.expect(0, &["down", "--purge", "--yes"]);
}
