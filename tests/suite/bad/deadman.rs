//! The dead-man's switch with real processes, one test for each mechanism. What it decides at which moment is in the
//! simulated world of `tests/sim`.

use super::home::{Home, PATIENT, answer, port, said, signal, until, web};
use rustix::process::Signal;
use std::fs;
use std::process::Child;

/// A stack of two servers. In the new revision `web` is unhealthy while the file `trouble` exists.
struct Stack {
    home: Home,
    web: u16,
    other: u16,
}

impl Stack {
    /// Applies the old revision.
    fn new() -> Self {
        let stack = Self { home: Home::new(), web: port(), other: port() };
        stack.revision("one", "");
        stack.home.expect(0, &["apply", "--yes"]);
        stack
    }

    fn revision(&self, word: &str, more: &str) {
        let services = format!("services:\n{}{}", web("web", self.web, word, more), web("other", self.other, word, ""));
        self.home.manifest_with(PATIENT, &services);
    }

    /// Begins to apply the new revision, which does not pass its gate while `trouble` exists.
    fn begin(&self, words: &[&str]) -> Child {
        let trouble = self.home.write("trouble", "");
        self.revision("two", &format!(", UNHEALTHY_WHEN: \"{}\"", trouble.display()));
        let child = self.home.begin(words);
        until("the new servers answer", || self.answers("two"));
        child
    }

    fn repair(&self) {
        fs::remove_file(self.home.path("trouble")).expect("removed");
    }

    fn answers(&self, word: &str) -> bool {
        [self.web, self.other].iter().all(|port| answer(*port).as_deref() == Some(word))
    }

    /// Returns the processes of dead-man's switches.
    fn switches(&self) -> Vec<u32> {
        let watches = |pid: &u32| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.contains("\0deadman\0")
        };
        self.home.processes().into_iter().filter(watches).collect()
    }

    /// Waits until the machine is on the old revision and no process of llamero runs.
    #[track_caller]
    fn is_back(&self, generation: u64) {
        let outcome = self.home.record(&format!("generations/{generation}/outcome"));
        until("it is on record", || outcome.exists());
        until("no switch is left", || self.switches().is_empty());
        assert_eq!(self.home.processes().len(), 4);
        assert!(self.answers("one"));
        let left = fs::read_dir(self.home.record(&format!("generations/{generation}"))).expect("a folder").flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["desired", "outcome"]);
        self.home.expect(0, &["history"]).has(&["rolled-back"]);
        self.home.expect(0, &["status"]).has(&["generation 1"]);
    }
}

const APPLY: [&str; 4] = ["apply", "--yes", "--fire-after", "2s"];

#[test]
fn an_apply_killed_during_its_switch_is_rolled_back() {
    let stack = Stack::new();
    let mut child = stack.begin(&APPLY);
    assert_eq!(stack.home.processes().len(), 6, "the servers, their supervisors, the apply and its switch");
    child.kill().expect("killed");
    child.wait().expect("waited for");
    stack.is_back(2);
    stack.home.expect(0, &["history"]).has(&["the apply process exited without recording an outcome"]);
    // The failure may be transient: a user's apply reports it, and is tried.
    stack.repair();
    stack.home.expect(0, &["apply", "--yes"]).has(&["failed before, once"]);
    assert!(stack.answers("two"));
    assert!(!stack.home.record("quarantine").exists(), "what succeeded is forgotten");
}

#[test]
fn a_heartbeat_postpones_the_dead_mans_switch() {
    let stack = Stack::new();
    let child = stack.begin(&["apply", "--yes", "--fire-after", "1s"]);
    let stamp = || fs::metadata(stack.home.record("generations/2/deadman")).and_then(|it| it.modified()).ok();
    // Three come in the time after which it fires.
    let mut last = None;
    for beat in 0..4 {
        until(&format!("heartbeat {beat}"), || stamp() != last);
        last = stamp();
    }
    assert!(stack.answers("two"), "an apply that runs is not rolled back");
    stack.repair();
    let said = said(child);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(stack.home.processes().len(), 4, "the switch is gone");
}

#[test]
fn a_suspended_apply_is_waited_for() {
    let stack = Stack::new();
    let child = stack.begin(&["apply", "--yes", "--fire-after", "1s"]);
    signal(&child, Signal::STOP);
    let log = || fs::read_to_string(stack.home.record("deadman.log")).unwrap_or_default();
    until("the switch names the process that it waits for", || log().contains(&format!("pid {}", child.id())));
    assert!(stack.answers("two"), "it holds the lock, and nothing interferes");
    stack.repair();
    signal(&child, Signal::CONT);
    let said = said(child);
    assert_eq!(said.code, 0, "{said}");
    assert!(stack.answers("two"));
    assert_eq!(stack.home.processes().len(), 4);
}

#[test]
fn without_rollback_no_confirmation_can_be_required() {
    let home = Home::new();
    home.manifest_with("rollback: off", &format!("services:\n{}", web("web", port(), "one", "")));
    home.expect(7, &["apply", "--yes", "--confirm-within", "9s"]).has(&["rollback: off"]);
}

#[test]
fn without_a_dead_mans_switch_nothing_changes() {
    let stack = Stack::new();
    stack.revision("two", "");
    // The switch's log cannot be opened: there is a folder in its place.
    fs::remove_file(stack.home.record("deadman.log")).expect("removed");
    fs::create_dir(stack.home.record("deadman.log")).expect("a folder");
    let said = stack.home.expect(1, &["apply", "--yes"]);
    said.has(&["the dead-man's switch could not be armed", "deadman.log", "No running server was changed"]);
    assert!(stack.answers("one"));
    fs::remove_dir(stack.home.record("deadman.log")).expect("removed");
    stack.home.expect(0, &["apply", "--yes"]);
}

mod confirmed {
    use super::{Stack, said, until};
    use std::process::Child;

    fn begin(stack: &Stack) -> Child {
        stack.revision("two", "");
        let child = stack.home.begin(&["apply", "--yes", "--confirm-within", "1h", "--fire-after", "1s"]);
        until("it waits to be confirmed", || stack.home.record("generations/2/passed").exists());
        assert!(stack.answers("two"));
        child
    }

    #[test]
    fn a_change_confirmed_in_time_stays() {
        let stack = Stack::new();
        stack.home.expect(1, &["confirm"]).has(&["no generation of `bad` awaits confirmation"]);
        let child = begin(&stack);
        stack.home.llamero(&["status"]).has(&["generation 1", "generation 2 awaits `llamero confirm --stack bad`"]);
        stack.home.expect(0, &["confirm"]).has(&["Generation 2 of bad is confirmed"]);
        let said = said(child);
        assert_eq!(said.code, 0, "{said}");
        said.has(&[
            "Run `llamero confirm --stack bad` within 3600 s or this change is rolled back",
            "Applied generation 2",
        ]);
        assert!(stack.answers("two"));
        assert_eq!(stack.home.processes().len(), 4);
        stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);
        stack.home.expect(1, &["confirm"]);
    }

    #[test]
    fn an_unconfirmed_change_is_rolled_back() {
        let stack = Stack::new();
        stack.revision("two", "");
        let said = stack.home.expect(3, &["apply", "--yes", "--confirm-within", "1s"]);
        said.has(&["it was not confirmed within 1 s", "was rolled back"]);
        stack.is_back(2);
        stack.home.expect(1, &["confirm", "--stack", "bad"]).has(&["no generation of `bad` awaits"]);
        stack.home.expect(0, &["status"]).has(&["quarantined", "not confirmed"]);
    }

    #[test]
    fn a_second_process_confirms_after_the_first_has_died() {
        let stack = Stack::new();
        let mut child = begin(&stack);
        child.kill().expect("killed");
        child.wait().expect("waited for");
        stack.home.expect(0, &["confirm", "--stack", "bad"]).has(&["is confirmed"]);
        // The switch may be the one that commits it; `confirm` returns once that is on record, and the switch ends
        // later.
        until("the switch has ended", || stack.switches().is_empty());
        assert_eq!(stack.home.processes().len(), 4);
        stack.home.expect(0, &["status"]).has(&["generation 2"]);
        stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);
    }
}

#[test]
fn a_suspended_stack_is_not_applied() {
    let stack = Stack::new();
    stack.home.expect(0, &["suspend", "a new driver"]);
    stack.revision("two", "");
    let said = stack.home.expect(7, &["apply", "--yes"]);
    said.has(&["is suspended: by an unnamed user since 2", "because: a new driver", "`llamero resume --stack bad`"]);
    stack.home.expect(0, &["status"]).has(&["SUSPENDED by an unnamed user since 2", "a new driver"]);
    assert!(stack.answers("one"));
    stack.home.expect(0, &["resume"]).has(&["is resumed"]);
    stack.home.expect(0, &["resume"]).has(&["was not suspended"]);
    stack.home.expect(0, &["apply", "--yes"]);
    assert!(stack.answers("two"));
}

#[test]
fn a_failure_record_stays_until_it_is_cleared() {
    let stack = Stack::new();
    let broken = "services:\n  broken: {runtime: process, command: [/bin/false]}\n";
    stack.home.manifest(broken);
    stack.home.expect(0, &["retry"]).has(&["has no failure record"]);
    let first = stack.home.expect(3, &["apply", "--yes"]);
    assert!(!first.err.contains("failed before"), "{first}");
    stack.home.expect(3, &["apply", "--yes"]).has(&["this manifest failed before, once", "process/broken"]);
    stack.home.expect(3, &["apply", "--yes"]).has(&["this manifest failed before, 2 times"]);
    stack.home.expect(0, &["status"]).has(&["quarantined: manifest", "process/broken"]);
    stack.home.expect(0, &["retry"]).has(&["Cleared the failure record"]);
    let status = stack.home.expect(0, &["status"]);
    assert!(!status.out.contains("quarantined"), "{status}");
    assert!(!stack.home.expect(3, &["apply", "--yes"]).err.contains("failed before"));
    // A damaged record is reported, and not treated as absent.
    fs::write(stack.home.record("quarantine"), "x").expect("damaged");
    stack.home.expect(1, &["status"]).has(&["quarantine is damaged"]);
}
