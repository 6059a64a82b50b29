//! A home of its own for the real program, with small real servers in it.

pub(super) use crate::clock::until;
use crate::clock::{HANG, pause};
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// Lets a server answer with 503, always.
pub(super) const UNHEALTHY: &str = ", UNHEALTHY: \"1\"";

/// Lets a server accept and never answer.
pub(super) const SILENT: &str = ", SILENT_WHEN: \"/\"";

/// Health rules of servers that become healthy, however slow the machine is.
pub(super) const PATIENT: &str = "health: {timeout: 1h, stable_for: 0s}";

/// A home whose stack is gone when the test is, however it ends.
pub(super) struct Home {
    folder: TempDir,
}

/// The output and exit code of a command.
#[derive(Debug)]
pub(super) struct CommandOutput {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl CommandOutput {
    /// Asserts that every text was printed, on either stream and however the lines are wrapped.
    #[track_caller]
    pub(super) fn has(&self, words: &[&str]) -> &Self {
        let unbroken = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = [unbroken(&self.out), unbroken(&self.err)];
        for word in words {
            assert!(said.iter().any(|said| said.contains(&unbroken(word))), "`{word}` is missing in\n{self}");
        }
        self
    }
}

impl std::fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}{}", self.code, self.out, self.err)
    }
}

impl Home {
    pub(super) fn new() -> Self {
        Self { folder: crate::folder() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of something among the records of the stack.
    pub(super) fn record(&self, name: &str) -> PathBuf {
        self.path(".local/state/llamero/bad").join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("written");
        path
    }

    /// Writes `llamero.yaml` with these sections. Its servers have all the time that they need.
    pub(super) fn manifest(&self, sections: &str) {
        self.manifest_with(PATIENT, sections);
    }

    pub(super) fn manifest_with(&self, policy: &str, sections: &str) {
        self.write("llamero.yaml", &format!("version: 1\nstack: bad\npolicy: {{{policy}}}\n{sections}\n"));
    }

    /// Returns the program, with nothing of this environment but the path.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llamero"));
        self.sync(command.args(words));
        command
    }

    /// Gives any command this home.
    pub(super) fn sync(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
    }

    pub(super) fn llamero(&self, words: &[&str]) -> CommandOutput {
        run(&mut self.command(words))
    }

    /// Runs the program, which must end with `code`.
    #[track_caller]
    pub(super) fn expect(&self, code: i32, words: &[&str]) -> CommandOutput {
        let said = self.llamero(words);
        assert_eq!(said.code, code, "llamero {}: {said}", words.join(" "));
        said
    }

    /// Starts the program and does not wait for it.
    pub(super) fn begin(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("llamero runs")
    }

    /// Returns everything below the home: for each path its times, its size and what is in it.
    pub(super) fn listing(&self) -> BTreeMap<PathBuf, (i64, i64, u64, u32)> {
        let mut live = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            // A process in the home may remove an entry that was just listed.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                live.insert(path, (metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.mode()));
            }
        }
        live
    }

    /// Returns the processes that live in this home.
    pub(super) fn processes(&self) -> BTreeSet<u32> {
        let home = format!("HOME={}\0", self.folder.path().display());
        let lives = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(home.len()).any(|window| window == home.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(lives).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A supervisor may be starting a server just now.
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), Signal::KILL);
            }
            pause(Duration::from_millis(5));
        }
    }
}

pub(super) fn run(command: &mut Command) -> CommandOutput {
    said(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs"))
}

/// Sends a signal to a program that was begun.
pub(super) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).expect("a pid"), signal).expect("signalled");
}

/// Waits for a program's end.
pub(super) fn said(child: Child) -> CommandOutput {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output().expect("it ends");
    let code = output.status.code().or_else(|| output.status.signal().map(|signal| -signal));
    CommandOutput {
        code: code.expect("an end"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Returns a free port that no other test gets.
pub(super) fn port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if GIVEN.lock().expect("no test fails here").insert(port) {
            return port;
        }
    }
}

/// Returns a service that answers with `answer` on `port`; `more` are further lines of its environment. One that never
/// becomes healthy is given up soon.
pub(super) fn web(name: &str, port: u16, answer: &str, more: &str) -> String {
    let timeout = if [UNHEALTHY, SILENT].iter().any(|never| more.ends_with(never)) { ", timeout: 1s" } else { "" };
    let program = std::env::current_exe().expect("this program");
    format!(
        "  {name}:\n    runtime: process\n    command: [{}, --exact, \"bad::home::server\", --ignored]\n    \
         env: {{PORT: \"{port}\", ANSWER: \"{answer}\"{more}}}\n    ports: [\"{port}\"]\n    health: {{path: /{timeout}}}\n",
        program.display()
    )
}

/// Not a test of its own: a server, configured by its environment.
#[test]
#[ignore = "run by the tests of the bad situations"]
fn server() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(port) = variable("PORT").and_then(|port| port.parse::<u16>().ok()) else { return };
    let answer = variable("ANSWER").unwrap_or_default();
    let late = variable("UNHEALTHY").is_some();
    if let Some(path) = variable("DIES_WHEN") {
        std::thread::spawn(move || {
            loop {
                if Path::new(&path).exists() {
                    let _ = kill_process(getpid(), Signal::KILL);
                }
                pause(Duration::from_millis(5));
            }
        });
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port");
    let mut exclusive = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if variable("LEAVES_WHEN").is_some_and(|path| Path::new(&path).exists()) {
            break;
        }
        if variable("SILENT_WHEN").is_some_and(|path| Path::new(&path).exists()) {
            exclusive.push(stream);
            continue;
        }
        let unhealthy = late || variable("UNHEALTHY_WHEN").is_some_and(|path| Path::new(&path).exists());
        let status = if unhealthy { "503 Service Unavailable" } else { "200 OK" };
        serve(stream, status, &answer);
    }
    // It runs on, and its port is free.
    drop(listener);
    std::thread::park();
}

/// Reads the head of a request.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    stream.set_read_timeout(Some(HANG)).ok()?;
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let size = stream.read(&mut chunk).ok().filter(|size| *size > 0)?;
        request.extend(&chunk[..size]);
    }
    Some(request)
}

fn serve(mut stream: TcpStream, status: &str, answer: &str) {
    let Some(request) = request(&mut stream) else { return };
    let head = request.starts_with(b"HEAD");
    let body = if head { "" } else { answer };
    let length = answer.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
}

/// Answers every request with the same, for as long as the test lives.
pub(crate) fn answering(status: &'static str, answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, status, answer)));
    port
}

/// Answers every request with the beginning of a large body and then no more, for as long as the test lives.
pub(super) fn stalling() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let stall = |mut stream: TcpStream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\nETag: \"one\"\r\nConnection: close\r\n\r\n";
        if request(&mut stream).is_none_or(|request| request.starts_with(b"HEAD")) {
            let _ = stream.write_all(head.as_bytes());
            return;
        }
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; 4 << 20]));
        let _ = stream.set_read_timeout(None);
        // Held open until the other side has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || stall(stream));
        }
    });
    port
}

/// Returns what the server on `port` answers, if it does.
pub(super) fn answer(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(HANG)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_owned())
}
