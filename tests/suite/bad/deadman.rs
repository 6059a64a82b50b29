//! The dead-man's switch: an apply that dies, is suspended or is not confirmed leaves one consistent revision.

use super::home::{Home, answer, port, run, said, signal, until, web};
use rustix::process::Signal;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

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
        self.home.manifest_with("health: {timeout: 60s, stable_for: 0s}", &services);
    }

    /// Begins to apply the new revision, which does not pass its gate while `trouble` exists.
    fn begin(&self, words: &[&str]) -> Child {
        let trouble = self.home.write("trouble", "");
        self.revision("two", &format!(", SICK_WHEN: \"{}\"", trouble.display()));
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
    fn watchers(&self) -> Vec<u32> {
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
        until("no switch is left", || self.watchers().is_empty());
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
    assert_eq!(stack.home.processes().len(), 6, "the servers, their supervisors, the apply and its watcher");
    child.kill().expect("killed");
    child.wait().expect("waited for");
    stack.is_back(2);
    stack.home.expect(0, &["history"]).has(&["the apply process exited without recording an outcome"]);
    // It may have been bad luck: a person who asks is told, and it is tried.
    stack.repair();
    stack.home.expect(0, &["apply", "--yes"]).has(&["failed before, once"]);
    assert!(stack.answers("two"));
    assert!(!stack.home.record("quarantine").exists(), "what succeeded is forgotten");
}

#[test]
fn an_apply_killed_at_any_point_ends_on_one_revision() {
    let stack = Stack::new();
    stack.revision("two", "");
    let begun = Instant::now();
    stack.home.expect(0, &["apply", "--yes"]);
    let took = begun.elapsed();
    for kill in 0..8 {
        let (old, new) = if kill % 2 == 0 { ("two", "one") } else { ("one", "two") };
        stack.revision(old, "");
        stack.home.expect(0, &["apply", "--yes"]);
        stack.revision(new, "");
        let mut child = stack.home.begin(&["apply", "--yes", "--fire-after", "500ms"]);
        std::thread::sleep(took * (kill * 5 % 8) / 8);
        child.kill().expect("killed");
        child.wait().expect("waited for");
        until("no switch is left", || stack.watchers().is_empty());
        assert!(stack.answers("one") || stack.answers("two"), "half of each after kill {kill}");
        assert_eq!(stack.home.processes().len(), 4, "after kill {kill}");
    }
}

#[test]
fn the_first_apply_that_is_killed_leaves_nothing() {
    let home = Home::new();
    let port = port();
    let trouble = home.write("trouble", "");
    let sick = web("web", port, "one", &format!(", SICK_WHEN: \"{}\"", trouble.display()));
    home.manifest_with("health: {timeout: 60s}", &format!("services:\n{sick}"));
    let mut child = home.begin(&APPLY);
    until("the server is asked", || answer(port).is_some());
    child.kill().expect("killed");
    child.wait().expect("waited for");
    until("nothing is left", || home.processes().is_empty());
    home.expect(0, &["history"]).has(&["rolled-back"]);
}

#[test]
fn a_heartbeat_postpones_the_dead_mans_switch() {
    let stack = Stack::new();
    let child = stack.begin(&["apply", "--yes", "--fire-after", "1s"]);
    std::thread::sleep(Duration::from_secs(4));
    assert!(stack.answers("two"), "who is at work is not taken back");
    stack.repair();
    let said = said(child);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(stack.home.processes().len(), 4, "the watcher is gone");
    assert!(
        !stack.home.record("deadman.log").exists()
            || fs::read(stack.home.record("deadman.log")).expect("a log").is_empty()
    );
}

#[test]
fn a_suspended_apply_is_waited_for() {
    let stack = Stack::new();
    let child = stack.begin(&["apply", "--yes", "--fire-after", "1s"]);
    signal(&child, Signal::STOP);
    let log = || fs::read_to_string(stack.home.record("deadman.log")).unwrap_or_default();
    until("the watcher says whom it waits for", || log().contains(&format!("pid {}", child.id())));
    std::thread::sleep(Duration::from_secs(2));
    assert!(stack.answers("two"), "it holds the lock, and nobody interferes");
    stack.repair();
    signal(&child, Signal::CONT);
    let said = said(child);
    assert_eq!(said.code, 0, "{said}");
    assert!(stack.answers("two"));
    assert_eq!(stack.home.processes().len(), 4);
}

#[test]
fn a_suspended_apply_that_is_killed_is_rolled_back() {
    let stack = Stack::new();
    let mut child = stack.begin(&["apply", "--yes", "--fire-after", "1s"]);
    signal(&child, Signal::STOP);
    std::thread::sleep(Duration::from_secs(2));
    child.kill().expect("killed");
    child.wait().expect("waited for");
    stack.is_back(2);
}

#[test]
fn a_second_apply_takes_over_from_the_dead_mans_switch() {
    let stack = Stack::new();
    let mut first = stack.begin(&APPLY);
    first.kill().expect("killed");
    first.wait().expect("waited for");
    let second = stack.home.begin(&APPLY);
    // Longer than the watcher of the first waits.
    std::thread::sleep(Duration::from_secs(4));
    assert!(stack.answers("two"), "the second is at work");
    stack.repair();
    let said = said(second);
    assert_eq!(said.code, 0, "{said}");
    std::thread::sleep(Duration::from_secs(1));
    assert!(stack.answers("two"));
    assert_eq!(stack.home.processes().len(), 4, "no watcher is left");
    stack.home.expect(0, &["status"]).has(&["generation 3"]);
}

#[test]
fn a_killed_dead_mans_switch_leaves_a_state_that_the_next_apply_repairs() {
    let stack = Stack::new();
    let mut child = stack.begin(&APPLY);
    let watchers = stack.watchers();
    let [watcher] = watchers[..] else { panic!("one watcher, and not {watchers:?}") };
    let pid = rustix::process::Pid::from_raw(watcher.cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("killed");
    child.kill().expect("killed");
    child.wait().expect("waited for");
    stack.repair();
    stack.revision("one", "");
    stack.home.expect(0, &["apply", "--yes"]);
    assert!(stack.answers("one"));
    assert_eq!(stack.home.processes().len(), 4);
}

#[test]
fn an_interrupted_apply_is_not_rolled_back() {
    let stack = Stack::new();
    let child = stack.begin(&["apply", "--yes", "--fire-after", "1s"]);
    signal(&child, Signal::INT);
    let said = said(child);
    assert_eq!(said.code, 8, "{said}");
    std::thread::sleep(Duration::from_secs(2));
    assert!(stack.answers("two"), "it is left as it is");
    assert_eq!(stack.home.processes().len(), 4);
    stack.repair();
    stack.home.expect(0, &["apply", "--yes"]);
}

#[test]
fn rollback_off_arms_no_dead_mans_switch() {
    let home = Home::new();
    let port = port();
    let trouble = home.write("trouble", "");
    let sick = web("web", port, "one", &format!(", SICK_WHEN: \"{}\"", trouble.display()));
    home.manifest_with("rollback: off, health: {timeout: 60s}", &format!("services:\n{sick}"));
    home.expect(7, &["apply", "--yes", "--confirm-within", "9s"]).has(&["rollback: off"]);
    let mut child = home.begin(&["apply", "--yes", "--fire-after", "500ms"]);
    until("the server is asked", || answer(port).is_some());
    child.kill().expect("killed");
    child.wait().expect("waited for");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(answer(port).as_deref(), Some("one"));
    assert_eq!(home.processes().len(), 2);
}

#[test]
fn without_a_dead_mans_switch_nothing_changes() {
    let stack = Stack::new();
    stack.revision("two", "");
    // The watcher's log cannot be opened: there is a folder in its place.
    fs::remove_file(stack.home.record("deadman.log")).expect("removed");
    fs::create_dir(stack.home.record("deadman.log")).expect("a folder");
    let said = stack.home.expect(1, &["apply", "--yes"]);
    said.has(&["the dead-man's switch could not be armed", "deadman.log", "No running server was changed"]);
    assert!(stack.answers("one"));
    fs::remove_dir(stack.home.record("deadman.log")).expect("removed");
    stack.home.expect(0, &["apply", "--yes"]);
}

mod confirmed {
    use super::{Signal, Stack, run, said, signal, until};
    use std::process::Child;
    use std::time::Duration;

    fn begin(stack: &Stack, within: &str) -> Child {
        stack.revision("two", "");
        let child = stack.home.begin(&["apply", "--yes", "--confirm-within", within, "--fire-after", "2s"]);
        until("it waits to be confirmed", || stack.home.record("generations/2/passed").exists());
        assert!(stack.answers("two"));
        child
    }

    #[test]
    fn a_change_confirmed_in_time_stays() {
        let stack = Stack::new();
        stack.home.expect(1, &["confirm"]).has(&["no generation of `bad` awaits confirmation"]);
        let child = begin(&stack, "1h");
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
        let child = begin(&stack, "2s");
        let said = said(child);
        assert_eq!(said.code, 3, "{said}");
        said.has(&["it was not confirmed within 2 s", "was rolled back"]);
        stack.is_back(2);
        stack.home.expect(1, &["confirm", "--stack", "bad"]).has(&["no generation of `bad` awaits"]);
        stack.home.expect(0, &["status"]).has(&["quarantined", "not confirmed"]);
    }

    #[test]
    fn a_second_process_confirms_after_the_first_has_died() {
        let stack = Stack::new();
        let mut child = begin(&stack, "1h");
        child.kill().expect("killed");
        child.wait().expect("waited for");
        // Longer than the watcher waits for a sign of life: it minds how long there is to confirm.
        std::thread::sleep(Duration::from_secs(4));
        assert!(stack.answers("two"));
        stack.home.expect(0, &["confirm", "--stack", "bad"]).has(&["is confirmed"]);
        // The switch may be the one that commits it; `confirm` returns once that is on record, and the switch ends later.
        until("the switch has ended", || stack.watchers().is_empty());
        assert_eq!(stack.home.processes().len(), 4);
        stack.home.expect(0, &["status"]).has(&["generation 2"]);
        stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);
    }

    #[test]
    fn an_unconfirmed_change_of_a_killed_apply_is_rolled_back() {
        let stack = Stack::new();
        let mut child = begin(&stack, "3s");
        child.kill().expect("killed");
        child.wait().expect("waited for");
        stack.is_back(2);
        stack.home.expect(0, &["history"]).has(&["it was not confirmed within 3 s"]);
    }

    #[test]
    fn interrupting_the_wait_for_confirmation_rolls_back_at_once() {
        let stack = Stack::new();
        let child = begin(&stack, "60s");
        signal(&child, Signal::INT);
        let said = said(child);
        assert_eq!(said.code, 3, "{said}");
        said.has(&["it was interrupted before it was confirmed"]);
        stack.is_back(2);
    }

    #[test]
    fn a_confirmation_of_a_suspended_apply_is_recorded() {
        let stack = Stack::new();
        let child = begin(&stack, "1h");
        signal(&child, Signal::STOP);
        let confirming = stack.home.begin(&["confirm"]);
        until("it is on record", || stack.home.record("generations/2/confirmed").exists());
        signal(&child, Signal::CONT);
        assert_eq!(said(confirming).code, 0);
        let said = said(child);
        assert_eq!(said.code, 0, "{said}");
        assert_eq!(run(&mut stack.home.command(&["status"])).code, 0);
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
