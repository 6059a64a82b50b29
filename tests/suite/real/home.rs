//! A home of its own for the real llamero, with real parts from the test environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A home of its own. Under the user manager it is the manager's, so that it reads the units written there.
pub(super) struct Home {
    folder: TempDir,
    user: PathBuf,
    environment: Vec<(String, String)>,
}

impl Home {
    pub(super) fn new() -> Self {
        let user = PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
        Self { folder: tempfile::tempdir().expect("a folder"), user, environment: Vec::new() }
    }

    /// Gives the program a variable more.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the path of something in a part, such as `litellm/bin/python`.
    #[track_caller]
    #[expect(clippy::unused_self, reason = "a manifest is written with a home and its parts")]
    pub(super) fn part(&self, path: &str) -> String {
        super::parts::part(path).display().to_string()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a folder of the manager's home.
    pub(super) fn under_home(&self, name: &str) -> PathBuf {
        self.user.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Returns the program with its words, to be run.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llamero"));
        command.args(words).current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        command
    }

    /// Runs llamero and returns its exit code and all that it said.
    pub(super) fn llamero(&self, words: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(words).output().expect("llamero runs");
        let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        (status.code().expect("an exit code"), text)
    }

    /// Runs llamero, which must end with `code`, and returns what it said.
    #[track_caller]
    pub(super) fn expect(&self, code: i32, words: &[&str]) -> String {
        let (live, text) = self.llamero(words);
        assert_eq!(live, code, "llamero {}:\n{text}", words.join(" "));
        text
    }
}

/// Returns what `systemctl --user show` says of one property of a unit.
pub(super) fn property(unit: &str, name: &str) -> String {
    let output = Command::new("systemctl")
        .args(["--user", "show", "--value", "-p", name, unit])
        .output()
        .expect("systemctl runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Asks the gateway with curl's own means replaced by a bare socket: one request, the whole answer as text.
pub(super) fn post(port: u16, path: &str, key: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// Returns every file below a folder.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut live = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { live.extend(files_below(&path)) } else { live.push(path) }
    }
    live
}
