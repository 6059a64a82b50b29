//! An apply that is killed at any instant.

use super::home::{Home, answer, port, until, web};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const KILLS: u32 = 48;

/// A server that only one of the two revisions has.
const SECOND: &str = "  second: {runtime: process, command: [sleep, \"600\"]}\n";

struct Stack {
    home: Home,
    gateway: u16,
    web: u16,
}

impl Stack {
    fn new() -> Self {
        let stack = Self { home: Home::new(), gateway: port(), web: port() };
        stack.home.write("token", "a token");
        stack
    }

    /// Declares the stack so that a gateway's configuration, a secret's file and a server differ by `word`.
    fn revision(&self, word: &str) {
        let Self { home, gateway, web: port } = self;
        let program = std::env::current_exe().expect("this program");
        let web = web("web", *port, word, "");
        let extra = if word == "two" { SECOND.to_owned() } else { String::new() };
        home.write("token", word);
        home.manifest_with(
            "health: {timeout: 20s, stable_for: 0s}",
            &format!(
                "services:\n{web}    secrets: {{TOKEN: {{file: ~/token}}}}\n{extra}\
                 gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n  retries: {}\n  \
                 command: [sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]\n  \
                 env: {{PORT: \"{gateway}\", ANSWER: '{{\"data\": []}}'}}\n  \
                 master_key: {{file: ~/key, generate: true}}\n",
                word.len(),
                program.display(),
            ),
        );
    }

    /// Returns the text of every file that is rendered.
    fn rendered(&self) -> BTreeMap<PathBuf, String> {
        let rendered = |path: &PathBuf| {
            path.is_file() && (path.ends_with("litellm.yaml") || path.extension().is_some_and(|end| end == "env"))
        };
        let files = self.home.listing().into_keys().filter(rendered);
        files.filter_map(|path| Some((path.clone(), fs::read_to_string(&path).ok()?))).collect()
    }
}

#[test]
fn an_apply_survives_a_kill_at_any_instant() {
    let stack = Stack::new();
    let home = &stack.home;
    let mut known: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut took = Duration::ZERO;
    for word in ["three", "two"] {
        stack.revision(word);
        let begun = Instant::now();
        home.expect(0, &["apply", "--yes"]);
        took = begun.elapsed();
        home.expect(0, &["plan"]).has(&["Nothing to do"]);
        for (path, text) in stack.rendered() {
            known.entry(path).or_default().insert(text);
        }
    }
    assert_eq!(known.len(), 3, "the configuration and two files of secrets: {:?}", known.keys());

    for kill in 0..KILLS {
        let word = if kill % 2 == 0 { "three" } else { "two" };
        stack.revision(word);
        let mut child = home.begin(&["apply", "--yes"]);
        // Spread over the whole of an apply, never in order.
        std::thread::sleep(took * (kill * 37 % KILLS) / KILLS);
        child.kill().expect("killed");
        child.wait().expect("waited for");
        for (path, text) in stack.rendered() {
            let whole = known.get(&path).is_some_and(|texts| texts.contains(&text));
            assert!(whole, "half a file after kill {kill}: {}\n{text}", path.display());
        }
        home.expect(0, &["plan"]);
        if kill % 4 == 3 {
            let said = home.expect(0, &["apply", "--yes"]);
            home.expect(0, &["plan"]).has(&["Nothing to do"]);
            assert_eq!(answer(stack.web).as_deref(), Some(word), "{said}");
            assert!(answer(stack.gateway).is_some(), "{said}");
            // Each server and its supervisor, and nothing besides.
            let expected = if word == "two" { 6 } else { 4 };
            // A dead-man's switch whose apply was killed before it was recorded ends by itself a second later.
            until(&format!("nothing besides after kill {kill}: {said}"), || home.processes().len() == expected);
        }
    }
    home.expect(0, &["down", "--purge", "--yes"]);
    assert!(home.processes().is_empty(), "no orphan is left");
    assert_eq!(stack.rendered(), BTreeMap::new());
}

#[test]
fn a_down_survives_a_kill_at_any_instant() {
    let stack = Stack::new();
    let home = &stack.home;
    for delay in [10, 60, 120, 200] {
        stack.revision("two");
        home.expect(0, &["apply", "--yes"]);
        let mut child = home.begin(&["down", "--purge", "--yes"]);
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("killed");
        child.wait().expect("waited for");
        home.expect(0, &["down", "--purge", "--yes"]);
        assert!(home.processes().is_empty(), "killed after {delay} ms");
        assert_eq!(stack.rendered(), BTreeMap::new());
    }
}

#[test]
fn a_rollback_survives_a_kill_at_any_instant() {
    let home = Home::new();
    let ports = [port(), port()];
    let revision = |answer: &str, more: &str| {
        home.manifest_with(
            "health: {timeout: 1s, stable_for: 0s}",
            &format!("services:\n{}{}", web("web", ports[0], answer, more), web("other", ports[1], answer, "")),
        );
    };
    revision("one", "");
    home.expect(0, &["apply", "--yes"]);
    for delay in 0..4 {
        revision("two", ", SICK: \"1\"");
        let mut child = home.begin(&["apply", "--yes"]);
        until("it fails", || answer(ports[0]).as_deref() == Some("two"));
        // The rollback begins a second later.
        std::thread::sleep(Duration::from_millis(950 + delay * 110));
        child.kill().expect("killed");
        child.wait().expect("waited for");
        // The old manifest is applied again, or the bad one fails again and is rolled back completely.
        if delay % 2 == 0 {
            revision("one", "");
            home.expect(0, &["apply", "--yes"]);
        } else {
            home.expect(3, &["apply", "--yes"]);
            revision("one", "");
        }
        home.expect(0, &["plan"]).has(&["Nothing to do"]);
        for port in ports {
            assert_eq!(answer(port).as_deref(), Some("one"), "killed {delay}");
        }
        assert_eq!(home.processes().len(), 4);
    }
}

/// A rollback that is killed leaves a server that it has just started. That one is not taken as unhealthy before the next
/// change: it would excuse the change.
#[test]
fn what_a_killed_rollback_has_just_started_excuses_no_change() {
    let home = Home::new();
    let port = port();
    let trouble = home.path("trouble");
    let revision = |answer: &str, more: &str| {
        let more = format!(", SICK_WHEN: \"{}\"{more}", trouble.display());
        home.manifest_with(
            "health: {timeout: 5s, stable_for: 0s}",
            &format!("services:\n{}", web("web", port, answer, &more)),
        );
    };
    revision("one", "");
    home.expect(0, &["apply", "--yes"]);
    revision("two", ", SICK: \"1\"");
    let mut child = home.begin(&["apply", "--yes"]);
    until("the change is there", || answer(port).as_deref() == Some("two"));
    fs::write(&trouble, "").expect("written");
    until("the rollback has started the former one", || answer(port).as_deref() == Some("one"));
    child.kill().expect("killed");
    child.wait().expect("waited for");

    let child = home.begin(&["apply", "--yes"]);
    until("the change is there again", || answer(port).as_deref() == Some("two"));
    fs::remove_file(&trouble).expect("removed");
    let output = child.wait_with_output().expect("waited for");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answer(port).as_deref(), Some("one"));
}
