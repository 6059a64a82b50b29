//! Two at once, and one that is asked to stop.

use super::home::{Home, answer, port, said, until, web};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Child;

/// Begins an apply that waits for a server as long as there is a file `trouble`.
fn waiting(home: &Home, port: u16) -> Child {
    let trouble = home.write("trouble", "");
    let slow = web("web", port, "one", &format!(", SICK_WHEN: \"{}\"", trouble.display()));
    home.manifest_with("health: {timeout: 60s, stable_for: 1s}", &format!("services:\n{slow}"));
    let child = home.begin(&["apply", "--yes"]);
    until("the server is asked", || answer(port).is_some());
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).expect("a pid"), signal).expect("signalled");
}

#[test]
fn a_second_writer_is_told_who_is_at_work() {
    let home = Home::new();
    let port = port();
    let first = waiting(&home, port);
    let pid = format!("pid {}", first.id());
    let before = home.listing();
    for words in [&["apply", "--yes"][..], &["down", "--yes"], &["rollback", "--yes"]] {
        let second = home.expect(5, words);
        second.has(&[&pid, "`llamero apply --yes`", "since 2", "wait until it is done"]);
    }
    assert_eq!(home.listing().len(), before.len());
    // Looking is allowed, and says so.
    home.expect(0, &["plan"]).has(&["being changed right now by", &pid]);
    home.llamero(&["status"]).has(&["being changed right now by", &pid]);
    home.expect(0, &["history"]).has(&["unfinished"]);
    fs::remove_file(home.path("trouble")).expect("removed");
    let first = said(first);
    assert_eq!(first.code, 0, "{first}");
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
}

#[test]
fn an_interrupted_apply_goes_on_when_run_again() {
    let home = Home::new();
    for stop in [Signal::INT, Signal::TERM] {
        let port = port();
        let child = waiting(&home, port);
        signal(&child, stop);
        let interrupted = said(child);
        assert_eq!(interrupted.code, 8, "{interrupted}");
        interrupted.has(&["Interrupted", "Run it again"]);
        assert!(!interrupted.err.contains("error:"), "stopping is no error: {interrupted}");
        home.expect(0, &["history"]).has(&["interrupted"]);
        fs::remove_file(home.path("trouble")).expect("removed");
        home.expect(0, &["apply", "--yes"]);
        home.expect(0, &["apply", "--yes"]).has(&["Nothing to do"]);
        assert_eq!(answer(port).as_deref(), Some("one"));
    }
    home.expect(0, &["down", "--purge", "--yes"]);
    assert!(home.processes().is_empty());
}

#[test]
fn a_lock_whose_holder_was_killed_is_free() {
    let home = Home::new();
    let mut child = waiting(&home, port());
    child.kill().expect("killed");
    child.wait().expect("waited for");
    fs::remove_file(home.path("trouble")).expect("removed");
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["apply", "--yes"]).has(&["Nothing to do"]);
}
