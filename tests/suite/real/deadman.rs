//! An apply that dies on the real systemd user manager: a transient timer rolls it back.

use super::home::{Home, property};
use crate::clock::{pause, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The ports of the server that is a unit and of the one that is a process.
const PORTS: [u16; 2] = [18_470, 18_471];

/// A secret of the shell that applies, which the manager's own processes do not have.
const SECRET: (&str, &str) = ("LLAMERO_LANE_TOKEN", "canary-0815");

fn manifest(home: &Home, word: &str) {
    let program = std::env::current_exe().expect("this program").display().to_string();
    // Only the new servers get unhealthy.
    let trouble = if word == "two" { home.path("trouble").display().to_string() } else { String::new() };
    // The file with the secrets differs too, and must be written again by the rollback.
    let more = if word == "two" { format!(", MORE: {{env: {}}}", SECRET.0) } else { String::new() };
    let [unit, process] = PORTS;
    let server = |name: &str, runtime: &str, port: u16| {
        format!(
            "  {name}:\n    runtime: {runtime}\n    command: [\"{program}\", --exact, \"bad::home::server\", --ignored]\n    \
             env: {{PORT: \"{port}\", ANSWER: {word}, UNHEALTHY_WHEN: \"{trouble}\"}}\n    \
             secrets: {{TOKEN: {{env: {}}}{more}}}\n    ports: [\"{port}\"]\n    health: {{path: /}}\n",
            SECRET.0
        )
    };
    let services = server("unit", "systemd", unit) + &server("process", "process", process);
    let policy = "policy: {health: {timeout: 60s, stable_for: 0s}}";
    home.write("llamero.yaml", &format!("version: 1\nstack: dead\n{policy}\nservices:\n{services}"));
}

fn llamero(home: &Home, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llamero"));
    command.args(words).current_dir(home.path("")).env(SECRET.0, SECRET.1);
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).stdin(Stdio::null());
    command
}

/// Takes the stack down when the test is over, however it ends.
struct Down<'a>(&'a Home);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = llamero(self.0, &["down", "--purge", "--yes", "--stack", "dead"]).status();
    }
}

#[track_caller]
fn apply(home: &Home, code: i32) {
    let ended = llamero(home, &["apply", "--yes"]).status().expect("llamero runs");
    assert_eq!(ended.code(), Some(code));
}

/// Begins to apply the new revision.
fn begin(home: &Home, more: &[&str]) -> Child {
    manifest(home, "two");
    let words = ["apply", "--yes", "--fire-after", "3s"].iter().chain(more).copied().collect::<Vec<_>>();
    llamero(home, &words).spawn().expect("llamero runs")
}

fn answer(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_owned())
}

fn answers(word: &str) -> bool {
    PORTS.iter().all(|port| answer(*port).as_deref() == Some(word))
}

fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("waited for");
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), signal).expect("signalled");
}

fn timer(generation: u64) -> String {
    property(&format!("llamero-deadman-dead-{generation}.timer"), "ActiveState")
}

fn service(generation: u64, name: &str) -> String {
    property(&format!("llamero-deadman-dead-{generation}.service"), name)
}

/// Waits until the machine is on the old revision and the manager has no timer left.
#[track_caller]
fn is_back(home: &Home, generation: u64) {
    let records = home.under_home(".local/state/llamero/dead").join(format!("generations/{generation}"));
    until("it is on record", || records.join("outcome").exists());
    // The manager keeps its name for as long as a process lives that it started.
    until("the switch is done", || service(generation, "ActiveState") == "inactive");
    assert_eq!(property(&format!("llamero-deadman-dead-{generation}.timer"), "LoadState"), "not-found");
    // What the switch started stays when it ends.
    pause(Duration::from_secs(1));
    assert!(answers("one"));
    let mut left: Vec<_> = fs::read_dir(&records).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["desired", "outcome"]);
    home.expect(0, &["status", "--stack", "dead"]);
    let history = home.expect(0, &["history", "--stack", "dead"]);
    assert!(history.contains("rolled-back"), "{history}");
}

#[test]
#[ignore = "needs a systemd user manager"]
fn an_apply_that_dies_is_rolled_back_by_a_timer() {
    let home = Home::new();
    manifest(&home, "one");
    let _down = Down(&home);
    apply(&home, 0);
    assert!(answers("one"));
    assert_eq!(timer(1), "inactive", "a committed generation has no switch");

    // Heartbeats postpone the timer; without them it fires.
    home.write("trouble", "");
    let child = begin(&home, &[]);
    until("the new servers answer", || answers("two"));
    pause(Duration::from_secs(6));
    assert!(answers("two"));
    assert_eq!((timer(2).as_str(), service(2, "ActiveState").as_str()), ("active", "inactive"));
    let environment = service(2, "Environment");
    assert!(environment.contains("XDG_RUNTIME_DIR=") && !environment.contains(SECRET.1), "{environment}");
    kill(child);
    is_back(&home, 2);

    // A suspended apply is waited for; a killed switch is restarted, and rolls back once the lock is free.
    let child = begin(&home, &[]);
    until("the new servers answer", || answers("two"));
    signal(child.id(), Signal::STOP);
    until("the switch runs", || service(3, "ActiveState") == "active");
    pause(Duration::from_secs(2));
    assert!(answers("two"));
    let switch = service(3, "MainPID");
    signal(switch.parse().expect("a pid"), Signal::KILL);
    until("another switch runs", || {
        service(3, "ActiveState") == "active" && !["0", switch.as_str()].contains(&service(3, "MainPID").as_str())
    });
    kill(child);
    is_back(&home, 3);

    // An interrupted apply may be resumed: its timer is disarmed.
    let mut child = begin(&home, &[]);
    until("the new servers answer", || answers("two"));
    assert_eq!(timer(4), "active");
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(8));
    assert_eq!(property("llamero-deadman-dead-4.timer", "LoadState"), "not-found");
    fs::remove_file(home.path("trouble")).expect("removed");
    manifest(&home, "one");
    apply(&home, 0);

    // A generation that has passed its gate is confirmed after its apply has died.
    let child = begin(&home, &["--confirm-within", "1h"]);
    let passed = home.under_home(".local/state/llamero/dead/generations/6/passed");
    until("it waits to be confirmed", || passed.exists());
    kill(child);
    until("the switch runs", || service(6, "ActiveState") == "active");
    pause(Duration::from_secs(2));
    home.expect(0, &["confirm", "--stack", "dead"]);
    until("the switch is gone", || service(6, "LoadState") == "not-found");
    assert!(answers("two"));
    assert!(home.expect(0, &["status", "--stack", "dead"]).contains("generation 6"));

    home.expect(0, &["down", "--purge", "--yes", "--stack", "dead"]);
    assert!(PORTS.iter().all(|port| answer(*port).is_none()));
}
