//! Taking a stack down: all that goes is in the plan, and nothing else goes.

use super::home::{CommandOutput, Home, port};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Returns a home with a stack whose server never gets healthy, and which has records of every kind.
fn stack() -> Home {
    let home = Home::new();
    home.write("model.py", "import sys; open(sys.argv[1], 'w').write('weights')");
    home.manifest_with(
        "health: {timeout: 1s, stable_for: 0s}, rollback: off",
        &format!(
            "providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {}, command: [/bin/sleep], \
             secrets: {{HF_TOKEN: {{file: token}}}}}}\nmodels:\n  \
             m: {{provider: llama, source: {{command: [python3, ./model.py, \"{{path}}\"]}}}}\n",
            port()
        ),
    );
    home.write("token", "not shown");
    home.expect(4, &["apply", "--yes"]);
    home.expect(0, &["suspend"]);
    home
}

/// Returns what is in the home, apart from the lock, which names its last holder.
fn content(home: &Home) -> BTreeSet<PathBuf> {
    let lock = home.record("lock");
    home.listing().into_keys().filter(|path| *path != lock).collect()
}

fn events(said: &CommandOutput) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn a_purge_removes_what_its_plan_names_and_nothing_else() {
    let home = stack();
    let before = content(&home);
    let asked = home.expect(0, &["down", "--purge", "--dry-run"]);
    asked.has(&["remove artifact/", "- remove failure records", "- remove suspension", "history of 1 generation"]);
    home.expect(7, &["down", "--purge"]).has(&["confirmation required"]);
    let planned = events(&home.expect(0, &["down", "--purge", "--dry-run", "--json"]));
    assert_eq!(content(&home), before, "asking has changed something");

    let done = home.expect(0, &["down", "--purge", "--yes", "--json"]);
    let done = events(&done);
    let plan = |events: &[Value]| events[0]["plan"].clone();
    let [said, executed] = [plan(&planned), plan(&done)];
    assert_eq!((&said["changes"], &said["steps"]), (&executed["changes"], &executed["steps"]));
    let ended: Vec<&str> =
        done.iter().filter(|event| event["event"] == "done").filter_map(|e| e["step"].as_str()).collect();
    assert_eq!(ended.len(), said["steps"].as_array().expect("steps").len(), "a step is a call: {ended:?}");
    let purged: Vec<&str> = asked.err.lines().filter_map(|line| line.strip_prefix("- remove  ")).collect();
    for what in purged.iter().filter(|what| !what.contains('/') || what.starts_with("empty folder")) {
        assert!(ended.contains(&format!("remove {what}").as_str()), "`{what}` was announced: {ended:?}");
    }
    let gone: Vec<PathBuf> = content(&home).into_iter().filter(|path| path.starts_with(home.record(""))).collect();
    assert_eq!(gone.len(), 1, "the folder of the lock is left: {gone:?}");
    let kept: BTreeSet<PathBuf> = ["llamero.yaml", "model.py", "token"].map(|name| home.path(name)).into();
    assert!(content(&home).is_superset(&kept));
    home.expect(0, &["down", "--purge", "--yes"]).has(&["nothing of `bad` runs here"]);
}

#[test]
fn a_stack_that_is_down_is_purged_only_with_consent() {
    let home = stack();
    home.expect(0, &["down", "--yes"]).has(&["kept: models, images, environments and the history"]);
    let before = content(&home);
    home.expect(7, &["down", "--purge"]).has(&["history of 2 generations", "confirmation required"]);
    assert_eq!(content(&home), before);
    home.expect(0, &["down", "--purge", "--yes"]).has(&["Took down bad"]);
    assert!(!home.record("generations").exists());
}
