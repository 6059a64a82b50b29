//! Another program on a server's port: it gets no request and no secret, and never counts as the server.

use super::home::{Home, answer, answering, port, said, until};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The user `nobody`, who does not run the tests.
pub(crate) const NOBODY: u32 = 65534;

/// The line that reports that it listens.
const READY: &str = "intruder listens";

/// Not a test of its own: a program that has the port of a gateway, answers as one, and prints whatever it is sent.
#[test]
#[ignore = "run by the tests of intruders"]
#[expect(clippy::print_stdout, reason = "its parent reads it")]
fn intruder() {
    let Some(port) = std::env::var("INTRUDES_ON").ok().and_then(|port| port.parse::<u16>().ok()) else { return };
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port");
    println!("{READY}");
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 4096];
        let size = stream.read(&mut request).unwrap_or_default();
        println!("{}", String::from_utf8_lossy(&request[..size]));
        let body = "{\"data\": [{\"id\": \"first\"}]}";
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    }
}

/// A program that is there first.
pub(crate) struct Intruder {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Intruder {
    /// Starts one as `user`, or as this one, with these marks in its environment; `None` where that cannot be done.
    pub(crate) fn start(port: u16, user: Option<u32>, marks: &[(&str, String)]) -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "bad::intruders::intruder", "--ignored", "--nocapture"]);
        command.env_clear().env("INTRUDES_ON", port.to_string()).envs(marks.iter().map(|(name, text)| (name, text)));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let Ok(mut child) = command.spawn() else {
            crate::skipped("no process can be started as another user");
            return None;
        };
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(READY) {
            line.clear();
            assert!(lines.read_line(&mut line).expect("read") > 0, "the intruder ended");
        }
        Some(Self { child, lines })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and returns all that it was sent.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("read");
        text
    }
}

fn gateway(port: u16, command: &str, more: &str) -> String {
    let upstream = answering("200 OK", "{}");
    format!(
        "providers:\n  one: {{engine: openai, runtime: external, endpoint: \"http://127.0.0.1:{upstream}/v1\"}}\n\
         models:\n  first: {{provider: one}}\n\
         gateway:\n  engine: litellm\n  runtime: process\n  port: {port}\n  command: {command}\n{more}  \
         master_key: {{file: ~/key, generate: true}}\n"
    )
}

/// A gateway that answers as one, from when there is a file `go` until there is a file `leaves`.
fn honest(home: &Home, port: u16) -> String {
    let program = std::env::current_exe().expect("this program");
    let script = "touch $HOME/started-$PORT; until [ -e $HOME/go ]; do sleep 0.02; done; \
                  exec \\\"$0\\\" --exact bad::home::server --ignored";
    let answer = "{\"data\": [{\"id\": \"first\"}]}";
    let leaves = home.path("leaves").display().to_string();
    gateway(
        port,
        &format!("[sh, -c, \"{script}\", \"{}\"]", program.display()),
        &format!("  env: {{PORT: \"{port}\", ANSWER: '{answer}', LEAVES_WHEN: \"{leaves}\"}}\n"),
    )
}

/// A gateway that runs and listens nowhere.
fn deaf(port: u16) -> String {
    gateway(port, "[sh, -c, \"touch $HOME/deaf; exec sleep 600\"]", "")
}

/// Returns whether a process has the socket open that listens on `port`.
fn listens(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let line = table.lines().find(|line| line.contains(&format!(":{port:04X} 00000000:0000 0A ")));
    let inode = line.and_then(|line| line.split_whitespace().nth(9)).expect("a listener");
    let socket = format!("socket:[{inode}]");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == socket.as_str())
}

fn users() -> Vec<Option<u32>> {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        crate::skipped("another user's process takes root");
    }
    [None, Some(NOBODY)].into_iter().filter(|user| user.is_none() || is_root).collect()
}

#[test]
fn a_foreign_listener_gets_no_request_and_fails_the_health_check() {
    for user in users() {
        let home = Home::new();
        let port = port();
        home.manifest_with("health: {timeout: 1h, stable_for: 1s}", &deaf(port));
        let apply = home.begin(&["apply", "--yes"]);
        until("the server runs", || home.path("deaf").exists());
        // Another user's ownership marker is not believed.
        let folder = home.record("processes/gateway").display().to_string();
        let marks = [("LLAMERO_PROCESS", folder), ("LLAMERO_RESOURCE", "bad/process/gateway".to_owned())];
        let marks = if user.is_some() { &marks[..] } else { &[] };
        let intruder = Intruder::start(port, user, marks).expect("an intruder");
        let applied = said(apply);
        assert_eq!(applied.code, 3, "{applied}");
        let uid = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let pid = format!("(pid {}, user {uid})", intruder.pid());
        applied.has(&[
            &format!("port {port} is held by"),
            &pid,
            "which is not part of it",
            "hint: stop the process that listens",
        ]);
        assert!(!applied.err.contains("needs longer"), "{applied}");
        assert_eq!(intruder.end(), "", "it was asked something");
    }
}

#[test]
fn a_foreign_listeners_answer_does_not_make_a_server_healthy() {
    for user in users() {
        let home = Home::new();
        let port = port();
        home.write("go", "");
        home.manifest(&honest(&home, port));
        home.expect(0, &["apply", "--yes"]);
        home.expect(0, &["status"]);
        home.write("leaves", "");
        until("it has left its port", || TcpStream::connect(("127.0.0.1", port)).is_err());
        let intruder = Intruder::start(port, user, &[]).expect("an intruder");
        home.expect(2, &["status"]).has(&[&format!("port {port} is held by"), "which is not part of it"]);
        home.expect(2, &["status", "--json"]).has(&["\"state\": \"unhealthy\""]);
        assert_eq!(intruder.end(), "", "it was asked something");
    }
}

#[test]
fn two_stacks_on_one_port_are_distinguished() {
    let home = Home::new();
    let port = port();
    // No process listens yet, so each of them is planned.
    home.manifest(&honest(&home, port));
    let first = home.begin(&["apply", "--yes"]);
    until("the first runs", || home.path(&format!("started-{port}")).exists());
    let other =
        format!("version: 1\nstack: other\npolicy: {{health: {{timeout: 1h, stable_for: 1s}}}}\n{}", deaf(port));
    home.write("other.yaml", &other);
    let second = home.begin(&["apply", "other.yaml", "--yes"]);
    until("the second runs", || home.path("deaf").exists());
    home.write("go", "");
    let (first, second) = (said(first), said(second));
    assert_eq!(first.code, 0, "{first}");
    assert_eq!(second.code, 3, "{second}");
    let holders = home.processes().into_iter().filter(|pid| listens(*pid, port));
    let holders: Vec<String> = holders.map(|pid| format!("(pid {pid}, user")).collect();
    assert_eq!(holders.len(), 1, "the server of the first stack");
    second.has(&[&format!("port {port} is held by"), &holders[0]]);
    assert!(answer(port).is_some_and(|answer| answer.contains("first")));
    home.expect(0, &["status", "--stack", "bad"]);
}
