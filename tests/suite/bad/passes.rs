//! State across passes: unverified servers, other stacks, saved plans.

use super::home::{Home, PATIENT, answer, port, said, signal, until, web};
use std::fs;

#[test]
fn an_unverified_server_is_verified_by_the_next_apply() {
    let home = Home::new();
    let port = port();
    let revision = |answer: &str, stable: &str, more: &str| {
        let services = format!("services:\n{}", web("web", port, answer, more));
        home.manifest_with(&format!("health: {{timeout: 1h, stable_for: {stable}}}"), &services);
    };
    revision("one", "0s", "");
    home.expect(0, &["apply", "--yes"]);
    // It answers, and exits before it is verified; the apply is killed in between.
    revision("two", "1h", &format!(", DIES_WHEN: \"{}\"", home.path("death").display()));
    let mut child = home.begin(&["apply", "--yes"]);
    until("the new one answers", || answer(port).as_deref() == Some("two"));
    child.kill().expect("killed");
    child.wait().expect("waited for");
    let second = home.begin(&["apply", "--yes"]);
    until("the next apply verifies it", || home.record("generations/3").exists());
    home.write("death", "");
    let second = said(second);
    assert_eq!(second.code, 3, "{second}");
    second.has(&["have not been verified against this manifest yet", "was rolled back"]);
    assert_eq!(answer(port).as_deref(), Some("one"));
}

#[test]
fn an_interrupted_down_keeps_the_records() {
    let home = Home::new();
    let sleeper = |name: &str| {
        let go = home.path("go");
        let script = format!("trap '' TERM; while [ ! -e {} ]; do sleep 0.1; done", go.display());
        format!("  {name}: {{runtime: process, command: [/bin/sh, -c, \"{script}\"]}}\n")
    };
    home.manifest(&format!("services:\n{}{}", sleeper("a"), sleeper("b")));
    home.expect(0, &["apply", "--yes"]);
    let child = home.begin(&["down", "--purge", "--yes"]);
    until("it has begun", || home.llamero(&["plan"]).err.contains("being changed right now"));
    signal(&child, rustix::process::Signal::INT);
    // They ignore SIGTERM; the current step is finished.
    home.write("go", "");
    let said = said(child);
    if said.code == 8 {
        said.has(&["pruning was interrupted"]);
        assert!(home.record("generations").is_dir(), "the records are needed to go on");
    }
    home.expect(0, &["down", "--purge", "--yes"]);
    assert!(home.processes().is_empty());
}

#[test]
fn a_model_file_that_another_stack_uses_is_kept() {
    let home = Home::new();
    home.write("model.py", "import sys; open(sys.argv[1], 'w').write('weights')");
    let revision = |stack: &str, port: u16| {
        let source = "{command: [python3, ./model.py, \"{path}\"]}";
        home.write(
            &format!("{stack}.yaml"),
            &format!(
                "version: 1\nstack: {stack}\npolicy: {{health: {{timeout: 1s, stable_for: 0s}}, rollback: off}}\n\
                 providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {port}, command: [/bin/sleep]}}\n\
                 models:\n  m: {{provider: llama, source: {source}}}\n"
            ),
        );
    };
    // The servers never answer, and stay for want of a rollback; their model files are what counts.
    for stack in ["one", "two"] {
        revision(stack, port());
        home.expect(4, &["apply", &format!("{stack}.yaml"), "--yes"]);
    }
    let models = || fs::read_dir(home.path(".local/share/llamero/models")).map_or(0, Iterator::count);
    assert_eq!(models(), 1, "both are made of one file");
    home.expect(0, &["down", "--stack", "one", "--purge", "--yes"]);
    assert_eq!(models(), 1, "the other stack needs it");
    home.expect(0, &["down", "--stack", "two", "--purge", "--yes"]);
    assert_eq!(models(), 0);
}

#[test]
fn a_pre_existing_failure_rolls_no_other_change_back() {
    let home = Home::new();
    let port = port();
    let revision = |answer: &str| {
        let once =
            "  once: {runtime: process, command: [/bin/sh, -c, \"until [ -e $HOME/end ]; do sleep 0.1; done\"]}\n";
        home.manifest_with(
            &format!("drift: warn, {PATIENT}"),
            &format!("services:\n{once}{}", web("web", port, answer, "")),
        );
    };
    revision("one");
    home.expect(0, &["apply", "--yes"]);
    home.write("end", "");
    until("it ended", || home.llamero(&["status"]).out.contains("down"));
    revision("two");
    home.expect(2, &["apply", "--yes"]).has(&["process/once is unhealthy, as before"]);
    assert_eq!(answer(port).as_deref(), Some("two"));
}

#[test]
fn a_failed_servers_log_excerpt_shows_no_secret() {
    let home = Home::new();
    home.write("token", "canary-4711");
    home.manifest_with(
        "health: {timeout: 1h, stable_for: 1h}",
        "services:\n  loud:\n    runtime: process\n    command: [/bin/sh, -c, \"echo token is $TOKEN; exit 3\"]\n    \
         secrets: {TOKEN: {file: ~/token}}",
    );
    let said = home.expect(3, &["apply", "--yes"]);
    said.has(&["token is (secret)"]);
    assert!(!said.err.contains("canary"), "{said}");
    let outcome = fs::read_to_string(home.record("generations/1/outcome")).expect("an outcome");
    assert!(!outcome.contains("canary"), "{outcome}");
}

#[test]
fn a_saved_plan_covers_programs_and_secrets() {
    let home = Home::new();
    home.write("token", "first");
    home.manifest(
        "services:\n  quiet:\n    runtime: process\n    command: [/bin/sleep, \"600\"]\n    secrets: {TOKEN: {file: ~/token}}",
    );
    home.expect(0, &["plan", "-o", "saved.plan"]);
    home.write("token", "second");
    home.expect(6, &["apply", "saved.plan"]).has(&["out of date"]);
    assert!(home.processes().is_empty());
}

#[test]
fn a_conflict_makes_the_stack_unhealthy() {
    let home = Home::new();
    home.write("token", "first");
    home.manifest(
        "services:\n  quiet:\n    runtime: process\n    command: [/bin/sleep, \"600\"]\n    secrets: {TOKEN: {file: ~/token}}",
    );
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);
    fs::write(home.record("secrets/quiet.env"), "another program's\n").expect("overwritten");
    home.expect(2, &["status"]).has(&["is not managed by llamero"]);
    home.expect(7, &["diff"]).has(&["is not managed by llamero"]);
    fs::remove_file(home.record("secrets/quiet.env")).expect("removed");
}

#[test]
fn a_rollback_without_a_number_skips_the_empty_state() {
    let home = Home::new();
    let port = port();
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["down", "--yes"]);
    home.manifest(&format!("services:\n{}", web("web", port, "two", "")));
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["rollback", "--yes"]);
    assert_eq!(answer(port).as_deref(), Some("one"));
}

#[test]
fn two_parts_of_one_name_are_an_error() {
    let home = Home::new();
    home.write("m.gguf", "weights");
    home.manifest(
        "providers:\n  l: {engine: llama-cpp, runtime: process, port: 8000, command: [/bin/sleep]}\nmodels:\n  \
         m: {provider: l, source: \"file:./m.gguf\"}\nservices:\n  l-m: {runtime: process, command: [/bin/sleep, \"9\"]}\n",
    );
    home.expect(1, &["plan"]).has(&["l-m"]);
}

#[test]
fn a_missing_supervisor_is_replaced() {
    let home = Home::new();
    let port = port();
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    home.expect(0, &["apply", "--yes"]);
    let state = fs::read_to_string(home.record("processes/web/state.json")).expect("a state");
    let state: serde_json::Value = serde_json::from_str(state.split_once('\n').expect("a seal").1).expect("JSON");
    let supervisor = state["supervisor"]["pid"].as_i64().or(state["supervisor"].as_i64()).expect("a pid");
    let killed = std::process::Command::new("kill").args(["-9", &supervisor.to_string()]).status().expect("kill runs");
    assert!(killed.success());
    until("it is seen", || home.llamero(&["status"]).out.contains("supervisor is gone"));
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);
}

#[test]
fn a_file_replaced_since_planning_is_not_touched() {
    let home = Home::new();
    home.write("token", "a token");
    home.write("model.py", "import os, sys, time\nopen('begun', 'w')\nwhile not os.path.exists('go'): time.sleep(.01)\nopen(sys.argv[1], 'w').write('weights')");
    let revision = |name: &str, more: &str| {
        home.manifest(&format!(
            "services:\n  quiet:\n    runtime: process\n    command: [/bin/sleep, \"600\"]\n    secrets: {{{name}: {{file: \
             ~/token}}}}\n{more}"
        ));
    };
    revision("ONE", "");
    home.expect(0, &["apply", "--yes"]);
    let rendered = home.record("secrets/quiet.env");
    assert!(rendered.exists(), "{}", rendered.display());
    // While a model is generated, another program replaces the file to be written next.
    let provider = format!(
        "providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {}, command: [/bin/sleep]}}\nmodels:\n  m: \
         {{provider: llama, source: {{command: [python3, ./model.py, \"{{path}}\"]}}}}\n",
        port()
    );
    revision("TWO", &provider);
    let child = home.begin(&["apply", "--yes"]);
    until("the model is generated", || home.path("begun").exists());
    fs::write(&rendered, "another program's\n").expect("written");
    home.write("go", "");
    let said = said(child);
    said.has(&["was replaced by another program since planning"]);
    assert_eq!(said.code, 4, "{said}");
    assert_eq!(fs::read_to_string(&rendered).expect("it is there"), "another program's\n");
    fs::remove_file(&rendered).expect("removed");
    revision("ONE", "");
    home.expect(0, &["apply", "--yes"]);
}
