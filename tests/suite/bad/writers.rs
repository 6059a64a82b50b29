//! Concurrent writers, and interrupted ones.

use super::home::{Home, PATIENT, answer, port, said, signal, until, web};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// Begins an apply that waits for a server as long as there is a file `trouble`.
fn waiting(home: &Home, port: u16) -> Child {
    let trouble = home.write("trouble", "");
    let slow = web("web", port, "one", &format!(", UNHEALTHY_WHEN: \"{}\"", trouble.display()));
    home.manifest_with(PATIENT, &format!("services:\n{slow}"));
    let child = home.begin(&["apply", "--yes"]);
    until("the server is asked", || answer(port).is_some());
    child
}

#[test]
fn a_second_writer_is_shown_the_lock_holder() {
    let home = Home::new();
    let port = port();
    let first = waiting(&home, port);
    let pid = format!("pid {}", first.id());
    // A running writer writes a temporary file and renames it.
    let finished = || -> BTreeSet<PathBuf> {
        let is_new =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".llamero-new-"));
        home.listing().into_keys().filter(|path| !is_new(path)).collect()
    };
    let before = finished();
    for words in [&["apply", "--yes"][..], &["down", "--yes"], &["rollback", "--yes"]] {
        let second = home.expect(5, words);
        second.has(&[&pid, "`llamero apply --yes`", "since 2", "wait until it is done"]);
    }
    assert_eq!(finished(), before);
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
fn an_interrupted_apply_is_resumed_by_the_next() {
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

#[test]
fn a_second_interrupt_aborts_at_once() {
    let home = Home::new();
    let port = port();
    let deaf = "  deaf:\n    runtime: process\n    command: [sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"]\n";
    home.manifest(&format!("services:\n{deaf}"));
    home.expect(0, &["apply", "--yes"]);
    // Stopping the server that ignores SIGTERM takes long.
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    let errors = fs::File::create(home.path("errors")).expect("a file");
    let child = home.command(&["apply", "--yes"]).stdout(Stdio::piped()).stderr(errors).spawn().expect("llamero runs");
    until("the new one answers", || answer(port).is_some());
    until("the new one is committed", || home.record("generations/2/outcome").exists());
    signal(&child, Signal::INT);
    until("the first was noticed", || {
        fs::read_to_string(home.path("errors")).is_ok_and(|text| text.contains("Ctrl-C"))
    });
    signal(&child, Signal::INT);
    let stopped = said(child);
    assert_eq!(stopped.code, 8, "{stopped}");
    let processes = home.processes();
    assert!(!processes.is_empty(), "the server that ignores SIGTERM runs on");
}
