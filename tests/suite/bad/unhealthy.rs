//! Servers that never become healthy, or do not stay healthy.

use super::home::{Home, PATIENT, UNHEALTHY, answer, port, said, until, web};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn services(home: &Home, policy: &str, services: &[String]) {
    home.manifest_with(policy, &format!("services:\n{}", services.concat()));
}

#[test]
fn a_server_that_never_gets_healthy_is_rolled_back() {
    let home = Home::new();
    let (first, second) = (port(), port());
    services(&home, PATIENT, &[web("web", first, "one", ""), web("other", second, "stays", "")]);
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();

    services(&home, PATIENT, &[web("web", first, "two", UNHEALTHY), web("other", second, "stays", "")]);
    let said = home.expect(3, &["apply", "--yes"]);
    said.has(&["process/web", "not healthy after", "health.timeout", "was rolled back", "generation 1"]);
    assert_eq!(answer(first).as_deref(), Some("one"));
    assert_eq!(answer(second).as_deref(), Some("stays"));
    let kept = home.processes().intersection(&before).count();
    assert_eq!(kept, 2, "the other server and its supervisor were not touched");
    home.expect(0, &["status"]);
    home.expect(0, &["history"]).has(&["rolled-back"]);
}

#[test]
fn a_first_generation_that_fails_leaves_nothing() {
    let home = Home::new();
    let port = port();
    services(&home, PATIENT, &[web("web", port, "one", UNHEALTHY)]);
    let said = home.expect(3, &["apply", "--yes"]);
    said.has(&["was rolled back", "as it was before"]);
    assert!(!said.err.contains("as it was before and healthy"), "nothing runs that could be healthy: {said}");
    assert_eq!(answer(port), None);
    assert!(home.processes().is_empty());
}

#[test]
fn a_server_that_exits_after_it_was_ready_is_rolled_back() {
    let home = Home::new();
    let port = port();
    services(&home, PATIENT, &[web("web", port, "one", "")]);
    home.expect(0, &["apply", "--yes"]);
    let dies = format!(", DIES_WHEN: \"{}\"", home.path("death").display());
    services(&home, "health: {timeout: 1h, stable_for: 1h}", &[web("web", port, "two", &dies)]);
    let child = home.begin(&["apply", "--yes"]);
    until("it answers", || answer(port).as_deref() == Some("two"));
    home.write("death", "");
    let said = said(child);
    assert_eq!(said.code, 3, "{said}");
    said.has(&["process/web", "signal 9", "was rolled back"]);
    assert_eq!(answer(port).as_deref(), Some("one"));
}

#[test]
fn a_server_that_ends_during_an_apply_that_leaves_it_must_be_healthy_again() {
    let home = Home::new();
    let (first, second) = (port(), port());
    let (slow, death) = (home.path("slow"), home.path("death"));
    let left = web("left", second, "left", &format!(", DIES_WHEN: \"{}\"", death.display()));
    services(&home, PATIENT, &[left.clone(), web("web", first, "one", "")]);
    home.expect(0, &["apply", "--yes"]);
    let slow_web = |word| web("web", first, word, &format!(", UNHEALTHY_WHEN: \"{}\"", slow.display()));
    let change = |word| {
        home.write("slow", "");
        services(&home, PATIENT, &[left.clone(), slow_web(word)]);
        let apply = home.begin(&["apply", "--yes"]);
        until("the change has begun", || answer(first).as_deref() == Some(word));
        home.write("death", "");
        until("the other is gone", || answer(second).is_none());
        apply
    };

    let apply = change("two");
    fs::remove_file(&death).expect("removed");
    until("its supervisor has started it again", || answer(second).is_some());
    fs::remove_file(&slow).expect("removed");
    let said = said(apply);
    assert_eq!(said.code, 0, "{said}");
    said.has(&["process/left ended meanwhile and was started again", "Applied generation 2"]);

    // One that cannot be started any more: nothing is committed, and no rollback helps.
    let apply = change("three");
    fs::remove_file(&slow).expect("removed");
    let said = super::home::said(apply);
    assert_eq!(said.code, 4, "{said}");
    said.has(&["process/left", "signal 9", "manual intervention required"]);
    assert_eq!(answer(first).as_deref(), Some("two"));
}

#[test]
fn pre_existing_failures_are_listed_and_roll_nothing_back() {
    let home = Home::new();
    let (unhealthy, healthy) = (port(), port());
    let trouble = home.path("trouble");
    let falling = web("falling", unhealthy, "unhealthy", &format!(", UNHEALTHY_WHEN: \"{}\"", trouble.display()));
    services(&home, PATIENT, &[falling.clone(), web("web", healthy, "one", "")]);
    home.expect(0, &["apply", "--yes"]);
    home.write("trouble", "");
    services(&home, PATIENT, &[falling, web("web", healthy, "two", "")]);
    let said = home.expect(2, &["apply", "--yes"]);
    said.has(&["Applied generation 2", "process/falling is unhealthy, as before"]);
    assert_eq!(answer(healthy).as_deref(), Some("two"));
    home.expect(2, &["status"]).has(&["process/falling", "503"]);
    // A change that fails by itself is still rolled back, and the summary does not claim health.
    let falling = web("falling", unhealthy, "unhealthy", &format!(", UNHEALTHY_WHEN: \"{}\"", trouble.display()));
    services(&home, PATIENT, &[falling, web("web", healthy, "three", UNHEALTHY)]);
    let said = home.expect(3, &["apply", "--yes"]);
    said.has(&["was rolled back; the machine is on generation 2:", "process/falling is unhealthy, as before"]);
    assert_eq!(answer(healthy).as_deref(), Some("two"));
}

#[test]
fn without_rollback_a_failed_change_stays_and_remedies_are_printed() {
    let home = Home::new();
    let port = port();
    let policy = format!("rollback: off, {PATIENT}");
    services(&home, &policy, &[web("web", port, "one", "")]);
    home.expect(0, &["apply", "--yes"]);
    services(&home, &policy, &[web("web", port, "two", UNHEALTHY)]);
    let said = home.expect(4, &["apply", "--yes"]);
    said.has(&["manual intervention required", "What to do:", "llamero rollback 1 --stack bad"]);
    assert_eq!(answer(port).as_deref(), Some("two"), "the failed server stays for inspection");
    // Between two generations nothing is rehearsed.
    let said = home.expect(7, &["apply", "--rehearse", "--yes"]);
    said.has(&["generation 2 was left unfinished", "`llamero rollback 1` takes it back"]);
    // The command that was printed works.
    home.expect(0, &["rollback", "1", "--stack", "bad", "--yes"]);
    assert_eq!(answer(port).as_deref(), Some("one"));
}

#[test]
fn fail_fast_attempts_nothing_after_the_first_failure() {
    let home = Home::new();
    let (first, second) = (port(), port());
    // One that cannot start at once, one that waits for a third, slow one.
    let services_of = |home: &Home| {
        // A program by its mode, and none by what is in it.
        let broken = "  broken: {runtime: process, command: [./server]}\n".to_owned();
        let last = web("last", second, "last", "") + "    after: [slow]\n";
        services(home, &format!("rollback: off, {PATIENT}"), &[broken, web("slow", first, "slow", ""), last]);
    };
    let program = home.write("server", "\u{7f}ELF and then nothing");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    services_of(&home);
    home.expect(4, &["apply", "--yes", "--fail-fast"]).has(&["process/broken", "not attempted"]);
    assert_eq!(answer(second), None, "it was attempted after a failure");
    // Without it, what does not depend on the failure still happens.
    home.expect(4, &["apply", "--yes"]).has(&["process/broken"]);
    assert_eq!(answer(second).as_deref(), Some("last"));
}

#[test]
fn a_server_that_recovers_within_its_timeout_is_no_failure() {
    let home = Home::new();
    let port = port();
    let trouble = home.write("trouble", "");
    let slow = web("web", port, "one", &format!(", UNHEALTHY_WHEN: \"{}\"", trouble.display()));
    services(&home, PATIENT, &[slow]);
    let child = home.begin(&["apply", "--yes"]);
    until("it answers", || answer(port).is_some());
    fs::remove_file(trouble).expect("removed");
    let said = said(child);
    assert_eq!(said.code, 0, "{said}");
}
