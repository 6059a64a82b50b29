//! Secrets that cannot be read: unknown to what only plans, and an error where something needs them.

use super::home::{CommandOutput, Home, answer, answering, port, run, web};
use std::collections::BTreeSet;
use std::fs;

/// A stack with a server that reads a secret of the environment, and one that does not.
struct Stack {
    home: Home,
    ports: [u16; 2],
}

impl Stack {
    fn new() -> Self {
        Self { home: Home::new(), ports: [port(), port()] }
    }

    /// Declares both servers by what they answer.
    fn manifest(&self, reads: &str, other: &str) {
        let (one, two) = (web("reads", self.ports[0], reads, ""), web("other", self.ports[1], other, ""));
        // It is referred to twice, and is one secret.
        self.home
            .manifest(&format!("services:\n{one}    secrets: {{TOKEN: {{env: TOKEN}}, AGAIN: {{env: TOKEN}}}}\n{two}"));
    }

    /// Runs llamero in a shell that has the secret.
    #[track_caller]
    fn with(&self, token: &str, code: i32, words: &[&str]) -> CommandOutput {
        let said = run(self.home.command(words).env("TOKEN", token));
        assert_eq!(said.code, code, "llamero {}: {said}", words.join(" "));
        said
    }

    fn answers(&self) -> [Option<String>; 2] {
        self.ports.map(answer)
    }
}

/// Returns how often a text is there.
fn times(said: &CommandOutput, text: &str) -> usize {
    said.err.matches(text).count() + said.out.matches(text).count()
}

const WARNED: [&str; 3] = [
    "warning[unreadable-secret]: the secret in environment variable TOKEN is missing",
    "services.reads.secrets.TOKEN",
    "set TOKEN in the environment that llamero runs in, or refer to a file",
];

#[test]
fn without_its_secrets_a_stack_is_planned_whole_and_not_applied() {
    let stack = Stack::new();
    stack.manifest("one", "one");
    let home = &stack.home;
    home.expect(0, &["validate"]);
    for (code, words) in [(0, &["plan"][..]), (2, &["plan", "--detailed-exitcode"]), (2, &["diff"]), (0, &["observe"])]
    {
        let said = home.expect(code, words);
        said.has(&WARNED);
        assert_eq!(times(&said, "unreadable-secret"), 1, "once: {said}");
    }
    home.expect(0, &["plan"]).has(&["+ create file/reads-secrets", "+ create process/other", "Plan: 3 to create"]);
    home.expect(2, &["diff"]).has(&["+TOKEN=\"(secret unknown)\""]);
    let said = home.expect(1, &["apply", "--yes"]);
    said.has(&[
        "error[unreadable-secret]: the secret in environment variable TOKEN is missing, and file/reads-secrets needs it",
        "services.reads.secrets.TOKEN",
        "set TOKEN in the environment",
        "nothing was changed",
    ]);
    assert!(!home.record("generations").exists() && home.processes().is_empty());
    // What the error says to do.
    stack.with("first", 0, &["apply", "--yes"]);
    assert_eq!(stack.answers(), ["one", "one"].map(|text| Some(text.to_owned())));
}

#[test]
fn what_depends_on_an_unknown_secret_is_unknown_and_stays_as_it_is() {
    let stack = Stack::new();
    stack.manifest("one", "one");
    stack.with("first", 0, &["apply", "--yes"]);
    let home = &stack.home;
    let before = home.processes();

    let unknown = ["? unknown file/reads-secrets", "? unknown process/reads", "depends on the secret in environment"];
    let said = home.expect(2, &["plan", "--detailed-exitcode"]);
    said.has(&WARNED).has(&unknown).has(&["No certain change: 1 resource is as declared, 2 depend on unknown secrets"]);
    assert_eq!((times(&said, "unreadable-secret"), times(&said, "Nothing to do")), (1, 0), "{said}");
    let plan: serde_json::Value = serde_json::from_str(&home.expect(0, &["plan", "--json"]).out).expect("JSON");
    assert_eq!((&plan["changes"], &plan["unchanged"]), (&serde_json::json!([]), &1.into()));
    let undetermined = &plan["undetermined"];
    assert_eq!(undetermined[1]["on"], "process/reads");
    assert_eq!(undetermined[1]["secrets"], serde_json::json!([{"env": "TOKEN"}]));
    home.expect(2, &["diff"]).has(&["process/reads: unknown, depends on the secret in environment variable TOKEN"]);
    home.expect(0, &["status"]);
    // An apply that needs none of them warns, and leaves what it cannot judge.
    home.expect(0, &["apply", "--yes"]).has(&WARNED).has(&unknown);
    assert_eq!(home.processes(), before);
    stack.with("first", 0, &["plan", "--detailed-exitcode"]).has(&["Nothing to do: 3 resources are as declared"]);

    // What does not depend on it changes, and its own server with it no more than without it.
    stack.manifest("one", "two");
    home.expect(0, &["apply", "--yes"]).has(&WARNED).has(&["1 to change", "2 unknown"]);
    assert_eq!(stack.answers(), ["one", "two"].map(|text| Some(text.to_owned())));
    let kept: BTreeSet<u32> = home.processes().intersection(&before).copied().collect();
    assert!(!kept.is_empty() && kept.len() < before.len(), "{kept:?} of {before:?}");
    stack.with("first", 0, &["plan", "--detailed-exitcode"]).has(&["Nothing to do"]);

    // A rotated secret is found by whoever can read it.
    stack.with("second", 2, &["plan", "--detailed-exitcode"]).has(&["~ change file/reads-secrets"]);
    // What needs the secret is refused without it, before anything is touched.
    stack.manifest("two", "three");
    let (live, generations) = (home.processes(), fs::read_dir(home.record("generations")).expect("a folder").count());
    let said = home.expect(1, &["apply", "--yes"]);
    said.has(&["error[unreadable-secret]", "and process/reads needs it", "nothing was changed"]);
    assert_eq!((home.processes(), stack.answers()[1].as_deref()), (live, Some("two")));
    assert_eq!(fs::read_dir(home.record("generations")).expect("a folder").count(), generations);
    stack.with("first", 0, &["apply", "--yes"]);
    assert_eq!(stack.answers(), ["two", "three"].map(|text| Some(text.to_owned())));
}

#[test]
fn a_plan_saved_without_a_secret_is_applied_with_the_value_in_force_and_no_other() {
    let stack = Stack::new();
    stack.manifest("one", "one");
    let home = &stack.home;
    // A first plan: whatever the secret is, it does the same.
    home.expect(0, &["plan", "-o", "saved.plan"]).has(&WARNED);
    home.expect(1, &["apply", "saved.plan"]).has(&["error[unreadable-secret]", "nothing was changed"]);
    assert!(home.processes().is_empty());
    stack.with("first", 0, &["apply", "saved.plan"]);

    stack.manifest("one", "two");
    home.expect(0, &["plan", "-o", "saved.plan"]).has(&["2 unknown"]);
    let before = home.processes();
    let said = stack.with("second", 6, &["apply", "saved.plan"]);
    said.has(&["or a secret that could not be read when it was saved: environment variable TOKEN", "plan again"]);
    assert_eq!(home.processes(), before);
    stack.with("first", 0, &["apply", "saved.plan"]);
    assert_eq!(stack.answers(), ["one", "two"].map(|text| Some(text.to_owned())));
}

#[test]
fn a_part_that_cannot_be_asked_without_its_key_is_unknown() {
    let home = Home::new();
    let (page, there) = (port(), answering("200 OK", "{}"));
    let manifest = format!(
        "providers:\n  lan: {{engine: openai, runtime: external, endpoint: \"http://127.0.0.1:{there}/v1\", api_key: \
         {{env: KEY}}}}\nmodels:\n  tiny: {{provider: lan}}\nservices:\n{}",
        web("page", page, "one", "")
    );
    home.manifest(&manifest);
    home.expect(0, &["plan"]).has(&[
        "warning: `providers.lan` at",
        "was not asked: the secret in environment",
        "set KEY",
    ]);
    home.expect(0, &["apply", "--yes"]);
    let said = home.expect(2, &["status"]);
    said.has(&[
        "unknown providers.lan",
        "`providers.lan` cannot be asked: the secret in environment variable KEY is missing",
    ]);
    said.has(&["hint: set KEY in the environment"]);
    assert_eq!(times(&said, "unhealthy"), 0, "{said}");
    let said = run(home.command(&["status"]).env("KEY", "sk-1"));
    assert_eq!(said.code, 0, "{said}");
}
