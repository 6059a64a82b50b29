//! Real kills of a real apply. Which instants exist, and what each leaves, is in the simulated world of `tests/sim`.

use super::home::{Home, UNHEALTHY, answer, port, until, web};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Child;

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
        home.manifest(&format!(
            "services:\n{web}    secrets: {{TOKEN: {{file: ~/token}}}}\n{extra}\
             gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n  retries: {}\n  \
             command: [sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]\n  \
             env: {{PORT: \"{gateway}\", ANSWER: '{{\"data\": []}}'}}\n  \
             master_key: {{file: ~/key, generate: true}}\n",
            word.len(),
            program.display(),
        ));
    }

    /// Returns the text of every rendered file.
    fn rendered(&self) -> BTreeMap<PathBuf, String> {
        let rendered = |path: &PathBuf| {
            path.is_file() && (path.ends_with("litellm.yaml") || path.extension().is_some_and(|end| end == "env"))
        };
        let files = self.home.listing().into_keys().filter(rendered);
        files.filter_map(|path| Some((path.clone(), fs::read_to_string(&path).ok()?))).collect()
    }

    fn generations(&self) -> usize {
        fs::read_dir(self.home.record("generations")).map_or(0, Iterator::count)
    }
}

fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("waited for");
}

#[test]
fn an_apply_killed_at_any_phase_is_resumed() {
    let stack = Stack::new();
    let home = &stack.home;
    let mut known: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for word in ["three", "two"] {
        stack.revision(word);
        home.expect(0, &["apply", "--yes"]);
        home.expect(0, &["plan"]).has(&["Nothing to do"]);
        for (path, text) in stack.rendered() {
            known.entry(path).or_default().insert(text);
        }
    }
    assert_eq!(known.len(), 3, "the configuration and two files of secrets: {:?}", known.keys());
    for (kill_at, word) in [(0, "three"), (1, "two"), (2, "three")] {
        stack.revision(word);
        let (files, generations) = (stack.rendered(), stack.generations());
        let child = home.begin(&["apply", "--yes"]);
        until("the apply is so far", || match kill_at {
            0 => stack.generations() > generations,
            1 => stack.rendered() != files,
            _ => answer(stack.web).as_deref() == Some(word),
        });
        kill(child);
        for (path, text) in stack.rendered() {
            let whole = known.get(&path).is_some_and(|texts| texts.contains(&text));
            assert!(whole, "half a file after kill {kill_at}: {}\n{text}", path.display());
        }
        home.expect(0, &["plan"]);
        let said = home.expect(0, &["apply", "--yes"]);
        home.expect(0, &["plan"]).has(&["Nothing to do"]);
        assert_eq!(answer(stack.web).as_deref(), Some(word), "{said}");
        assert!(answer(stack.gateway).is_some(), "{said}");
        // Each server and its supervisor, and nothing besides.
        let expected = if word == "two" { 6 } else { 4 };
        // A switch whose apply was killed before it was on record ends by itself a second later.
        until(&format!("nothing besides after kill {kill_at}: {said}"), || home.processes().len() == expected);
    }
    let running = home.processes().len();
    let child = home.begin(&["down", "--purge", "--yes"]);
    until("a server is stopped", || home.processes().len() < running);
    kill(child);
    home.expect(0, &["down", "--purge", "--yes"]);
    assert!(home.processes().is_empty(), "no orphan is left");
    assert_eq!(stack.rendered(), BTreeMap::new());
}

/// A rollback that is killed leaves a server that it has just started. That one is not taken as unhealthy before the
/// next change: it would excuse the change.
#[test]
fn what_a_killed_rollback_has_just_started_excuses_no_change() {
    let home = Home::new();
    let port = port();
    let trouble = home.path("trouble");
    let revision = |answer: &str, more: &str| {
        let more = format!(", UNHEALTHY_WHEN: \"{}\"{more}", trouble.display());
        home.manifest(&format!("services:\n{}", web("web", port, answer, &more)));
    };
    revision("one", "");
    home.expect(0, &["apply", "--yes"]);
    revision("two", UNHEALTHY);
    let child = home.begin(&["apply", "--yes"]);
    until("the change is there", || answer(port).as_deref() == Some("two"));
    fs::write(&trouble, "").expect("written");
    until("the rollback has started the previous one", || answer(port).as_deref() == Some("one"));
    kill(child);

    let child = home.begin(&["apply", "--yes"]);
    until("the change is there again", || answer(port).as_deref() == Some("two"));
    fs::remove_file(&trouble).expect("removed");
    let output = child.wait_with_output().expect("waited for");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answer(port).as_deref(), Some("one"));
}
