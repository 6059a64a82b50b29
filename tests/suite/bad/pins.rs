//! Sources that move, and lock files that are out of date.

use super::home::{CommandOutput, Home, PATIENT, port, run};
use crate::fakes::hub::Hub;
use std::fs;

/// A home whose model comes from a hub, and one whose model comes from an address.
struct Pinned {
    home: Home,
    hub: Hub,
}

impl Pinned {
    fn new() -> Self {
        let pinned = Self { home: Home::new(), hub: Hub::start() };
        pinned.hub.commit("tiny.gguf", "one");
        pinned
    }

    fn manifest(&self, more: &str) {
        // A server that is not there to answer: what is fetched for it is what counts.
        self.home.manifest_with(
            PATIENT,
            &format!(
                "providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {}, command: [sleep, \"600\"]}}\n\
                 models:\n  hub: {{provider: llama, source: 'hf:a/b/tiny.gguf'}}\n  plain: {{provider: llama, source: \
                 '{}/plain/tiny.gguf', insecure: true}}\n{more}",
                port(),
                self.hub.url
            ),
        );
    }

    #[track_caller]
    fn expect(&self, code: i32, words: &[&str]) -> CommandOutput {
        let said = run(self.home.command(words).env("HF_ENDPOINT", &self.hub.url));
        assert_eq!(said.code, code, "llamero {}: {said}", words.join(" "));
        said
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.home.path("llamero.lock")).expect("a lock file")
    }
}

#[test]
fn a_lock_file_pins_commit_digest_and_size_and_moves_are_shown() {
    let pinned = Pinned::new();
    pinned.manifest("");
    pinned.expect(0, &["outdated"]).has(&["2 not locked", "llamero lock"]);
    pinned.expect(0, &["lock"]).has(&["+ hf:a/b/tiny.gguf", "7692c3ad3540", "3 B", "pins 2 sources"]);
    let first = pinned.lock();
    assert!(first.contains("revision: ") && first.contains("size: 3") && first.contains("etag: "), "{first}");
    pinned.expect(0, &["lock"]).has(&["up to date"]);
    pinned.expect(0, &["outdated"]).has(&["2 as locked"]);

    pinned.hub.commit("tiny.gguf", "two!");
    let said = pinned.expect(2, &["outdated"]);
    said.has(&["7692c3ad3540 -> ", "4 B to fetch", "2 moved", "llamero update hub plain"]);
    let json = pinned.expect(2, &["outdated", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (json["sources"][0]["state"].as_str(), json["sources"][0]["to_fetch"].as_u64()),
        (Some("moved"), Some(4))
    );
    assert_eq!(pinned.lock(), first, "looking changes nothing");
    pinned.expect(0, &["lock"]).has(&["up to date"]);

    pinned.expect(0, &["update", "hub"]).has(&["~ hf:a/b/tiny.gguf", "was 7692c3ad3540", "llamero plan"]);
    assert!(pinned.lock().contains("7692c3ad3540"), "the other one stays");
    pinned.expect(0, &["update"]);
    assert!(!pinned.lock().contains("7692c3ad3540"), "{}", pinned.lock());
    pinned.expect(0, &["update"]).has(&["nothing moved"]);
}

#[test]
fn the_pinned_content_is_fetched_after_the_branch_has_moved() {
    let pinned = Pinned::new();
    pinned.manifest("");
    pinned.expect(0, &["lock"]);
    pinned.hub.commit("tiny.gguf", "two!");
    pinned.hub.asked();
    // The file of the hub comes from the commit; what the address gives now is not what was locked.
    let said = pinned.expect(1, &["apply", "--yes"]);
    said.has(&["plain/tiny.gguf", "has the sha256", "not 7692c3ad3540"]);
    assert!(pinned.hub.asked().iter().all(|path| !path.contains("/resolve/main/")));
    let fetched: Vec<_> = pinned.home.listing().into_keys().filter(|path| path.ends_with("tiny.gguf")).collect();
    assert_eq!(fetched.len(), 1, "{fetched:?}");
    assert_eq!(fs::read_to_string(&fetched[0]).expect("it is there"), "one");
}

#[test]
fn an_address_fetched_before_it_was_pinned_is_refetched() {
    let pinned = Pinned::new();
    pinned.manifest("");
    // Its server never answers, but what it is made of is fetched.
    let said = run(pinned.home.command(&["apply", "--yes"]).env("HF_ENDPOINT", &pinned.hub.url));
    assert_ne!(said.code, 0, "{said}");
    pinned.expect(0, &["lock"]);
    assert!(pinned.lock().contains("7692c3ad3540"));
    pinned.hub.commit("tiny.gguf", "two!");
    pinned.expect(2, &["outdated"]).has(&["2 moved"]);
    pinned.expect(0, &["update", "plain"]).has(&["~ http", "was 7692c3ad3540"]);
}

#[test]
fn a_server_downloads_its_repository_at_the_pinned_commit() {
    let pinned = Pinned::new();
    pinned.home.manifest(&format!(
        "providers:\n  vllm: {{engine: vllm, runtime: process, port: {}, command: [sleep, \"600\"]}}\nmodels:\n  m: \
         {{provider: vllm, source: 'hf:a/b'}}",
        port()
    ));
    let first = pinned.hub.commit("tiny.gguf", "one");
    pinned.expect(0, &["lock"]).has(&["+ hf:a/b", "3 B", "pins 1 source"]);
    assert!(pinned.lock().contains(&format!("revision: {first}")), "{}", pinned.lock());
    pinned.expect(0, &["plan", "--locked"]);
    pinned.expect(0, &["outdated"]).has(&["1 as locked"]);
    let second = pinned.hub.commit("tiny.gguf", "two!");
    pinned.expect(2, &["outdated"]).has(&["4 B to fetch", "llamero update m"]);
    pinned.home.write(&format!(".cache/huggingface/hub/models--a--b/snapshots/{second}/tiny.gguf"), "two!");
    pinned.expect(2, &["outdated"]).has(&["size unknown"]);
    pinned.expect(0, &["update", "m"]).has(&["~ hf:a/b", "was "]);
    assert!(pinned.lock().contains(&format!("revision: {second}")), "{}", pinned.lock());
}

#[test]
fn a_lock_file_out_of_date_is_an_error() {
    let pinned = Pinned::new();
    pinned.manifest("");
    pinned.expect(1, &["plan", "--locked"]).has(&["llamero.lock is out of date", "hf:a/b/tiny.gguf", "llamero lock"]);
    pinned.expect(0, &["lock"]);
    pinned.expect(0, &["plan", "--locked"]);
    let whole = pinned.lock();

    let foreign = format!("{whole}  ollama:gone:1: {{sha256: {}}}\n", "a".repeat(64));
    pinned.home.write("llamero.lock", &foreign);
    pinned.expect(1, &["plan", "--locked"]).has(&["the manifest no longer has ollama:gone:1"]);
    pinned.expect(0, &["plan"]);
    pinned.expect(0, &["lock"]).has(&["- ollama:gone:1"]);
    assert_eq!(pinned.lock(), whole);

    for damaged in ["", "<<<<<<< ours\nversion: 1\n", "version: 7\n", "version: 1\nsources: {a: {sha256: xyz}}\n"] {
        pinned.home.write("llamero.lock", damaged);
        for verb in ["plan", "lock", "outdated", "update"] {
            let said = pinned.expect(1, &[verb]);
            said.has(&["llamero.lock is damaged", "nothing was changed"]);
        }
        assert_eq!(pinned.lock(), damaged);
    }
}

#[test]
fn an_unreachable_source_pins_nothing() {
    let pinned = Pinned::new();
    pinned.manifest("  other: {provider: llama, source: 'hf:a/b/other.gguf'}\n");
    pinned.expect(1, &["lock"]).has(&["hf:a/b/other.gguf", "does not exist", "nothing was changed"]);
    assert!(!pinned.home.path("llamero.lock").exists());
    pinned.expect(1, &["outdated"]).has(&["1 unknown", "2 not locked", "other.gguf"]);
    pinned.expect(1, &["update", "nobody"]).has(&["nothing called `nobody` has a source", "hub, plain, other"]);
}

#[test]
fn every_one_of_many_applies_converges() {
    let (home, port) = (Home::new(), port());
    let program = std::env::current_exe().expect("this program");
    let models = || home.listing().into_keys().filter(|path| path.extension().is_some_and(|end| end == "gguf")).count();
    for number in 1..=6 {
        home.manifest_with(
            PATIENT,
            &format!(
                "providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {port}, command: [sh, -c, 'exec {} \
                 --exact bad::home::server --ignored'], env: {{PORT: '{port}', ANSWER: \
                 '{{\"data\": [{{\"id\": \"made\"}}]}}'}}}}\nmodels:\n  made: {{provider: llama, source: {{command: \
                 [sh, -c, 'printf {number} > \"$1\"', sh, '{{path}}']}}}}\n",
                program.display()
            ),
        );
        home.expect(0, &["apply", "--yes"]);
        home.expect(0, &["plan", "--detailed-exitcode"]).has(&["Nothing to do"]);
        assert_eq!(models(), number.min(3), "those of the generations that a rollback can lead to, and no other");
    }
    home.expect(0, &["rollback", "4", "--yes"]);
    home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(models(), 0);
}
