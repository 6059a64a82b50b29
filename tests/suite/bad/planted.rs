//! One planted word in every kind of secret, through every command: it is found at its source, in the private file of
//! the server that needs it, and nowhere else.

use super::home::{CommandOutput, Home, UNHEALTHY, port, run, web};
use crate::fakes::hub::Hub;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

const PLANTED: &str = "planted-5d20e8b7-never-shown";

/// Every kind of secret, with the planted word that is in it.
const KINDS: [&str; 5] = ["master-key", "provider-file", "provider-variable", "service-file", "service-variable"];

struct Cage {
    home: Home,
    hub: Hub,
    ports: [u16; 3],
}

impl Cage {
    fn new() -> Self {
        let cage = Self { home: Home::new(), hub: Hub::start(), ports: [port(), port(), port()] };
        cage.hub.commit("tiny.gguf", "a tiny model");
        cage.plant("");
        cage
    }

    /// Puts a planted word into every secret that is a file.
    fn plant(&self, suffix: &str) {
        for kind in KINDS.iter().filter(|kind| !kind.ends_with("variable")) {
            self.home.write(kind, &format!("{PLANTED}-{kind}{suffix}"));
        }
    }

    /// Declares a stack with every kind of secret.
    fn revision(&self, answer: &str, more: &str) {
        let [gateway, llama, service] = self.ports;
        let program = std::env::current_exe().expect("this program");
        let server = format!("[sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]", program.display());
        self.home.manifest(&format!(
            "providers:\n  one: {{engine: openai, runtime: external, endpoint: \"http://127.0.0.1:9/v1\", \
             api_key: {{file: ~/provider-file}}}}\n  \
             two: {{engine: openai, runtime: external, endpoint: \"http://127.0.0.1:9/v1\", api_key: {{env: PROVIDER}}}}\n  \
             llama: {{engine: llama-cpp, runtime: process, port: {llama}, command: {server}, \
             env: {{PORT: \"{llama}\", ANSWER: '{{\"data\": [{{\"id\": \"tiny\"}}]}}'}}}}\n\
             models:\n  first: {{provider: one}}\n  second: {{provider: two}}\n  \
             tiny: {{provider: llama, source: \"hf:someone/tiny/tiny.gguf\", insecure: true}}\n\
             gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n  command: {server}\n  \
             env: {{PORT: \"{gateway}\", ANSWER: '{{\"data\": [{{\"id\": \"first\"}}, {{\"id\": \"second\"}}, {{\"id\": \"tiny\"}}]}}'}}\n  \
             master_key: {{file: ~/master-key}}\n\
             services:\n{}    secrets: {{TOKEN: {{file: ~/service-file}}, KEY: {{env: SERVICE}}}}\n",
            web("web", service, answer, more)
        ));
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.home.command(words);
        command.env("PROVIDER", format!("{PLANTED}-provider-variable"));
        command.env("SERVICE", format!("{PLANTED}-service-variable"));
        command.env("HF_TOKEN", format!("{PLANTED}-hub")).env("HF_ENDPOINT", &self.hub.url);
        command
    }

    /// Runs a command and searches its output and every command line for the planted word.
    #[track_caller]
    fn leaks_nothing(&self, words: &[&str]) -> CommandOutput {
        let said = run(&mut self.command(words));
        let shown = |text: &str| text.contains(PLANTED);
        assert!(!shown(&said.out) && !shown(&said.err), "llamero {}: {said}", words.join(" "));
        assert_eq!(self.leaked_by_command_lines(), None, "after llamero {}", words.join(" "));
        said
    }

    /// Returns the command line of a process in this home that contains a secret.
    fn leaked_by_command_lines(&self) -> Option<String> {
        let line = |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let lines = self.home.processes().into_iter().map(|pid| String::from_utf8_lossy(&line(pid)).into_owned());
        lines.into_iter().find(|line| line.contains(PLANTED))
    }

    /// Runs a command and searches every command line repeatedly while it runs.
    #[track_caller]
    fn leaks_nothing_while_running(&self, words: &[&str]) -> i32 {
        let mut command = self.command(words);
        let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("llamero runs");
        loop {
            assert_eq!(self.leaked_by_command_lines(), None, "during llamero {}", words.join(" "));
            if let Some(status) = child.try_wait().expect("waited for") {
                return status.code().expect("an end");
            }
        }
    }

    /// Returns the files below the home that hold the planted word.
    fn holders(&self) -> BTreeSet<PathBuf> {
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            bytes.windows(PLANTED.len()).any(|window| window == PLANTED.as_bytes())
        };
        self.home.listing().into_keys().filter(|path| path.is_file() && holds(path)).collect()
    }

    /// Asserts that only the sources and these private files hold it.
    #[track_caller]
    fn is_kept(&self, servers: &[&str]) {
        let sources = KINDS.iter().filter(|kind| !kind.ends_with("variable")).map(|kind| self.home.path(kind));
        let private = servers.iter().map(|name| self.home.record(&format!("secrets/{name}.env")));
        assert_eq!(self.holders(), sources.chain(private.clone()).collect());
        for path in private {
            assert_eq!(self.home.listing()[&path].3 & 0o777, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn no_command_shows_a_secret_of_any_kind() {
    let cage = Cage::new();
    cage.revision("one", "");
    let looking: [&[&str]; 16] = [
        &["validate"],
        &["plan"],
        &["plan", "--json"],
        &["plan", "-o", "saved.plan"],
        &["diff"],
        &["diff", "--json"],
        &["status"],
        &["status", "--json"],
        &["history", "--json"],
        &["show", "1"],
        &["show", "1", "--json"],
        &["observe"],
        &["outdated"],
        &["outdated", "--json"],
        &["doctor"],
        &["doctor", "--json"],
    ];
    let inspect = || looking.map(|words| cage.leaks_nothing(words).code);
    inspect();
    cage.is_kept(&[]);
    assert_eq!(cage.leaks_nothing_while_running(&["lock"]), 0);
    assert_eq!(cage.leaks_nothing(&["apply", "--yes", "--json"]).code, 0);
    assert!(!inspect().contains(&101));
    cage.is_kept(&["gateway", "web"]);

    // It fails and rolls back; a secret is rotated; a plan is saved and applied.
    cage.revision("two", UNHEALTHY);
    assert_eq!(cage.leaks_nothing(&["apply", "--yes"]).code, 3);
    cage.plant("-turned");
    cage.revision("three", "");
    inspect();
    assert_eq!(cage.leaks_nothing_while_running(&["apply", "--yes"]), 0);
    assert_eq!(cage.leaks_nothing(&["update"]).code, 0);
    assert_eq!(cage.leaks_nothing_while_running(&["rollback", "--yes"]), 0);
    cage.is_kept(&["gateway", "web"]);

    // Errors: a secret that is too much for its file, records that are damaged, a verb that is cut short.
    cage.home.write("service-file", &format!("{PLANTED}-service-file\0"));
    inspect();
    cage.leaks_nothing(&["apply", "--yes"]);
    cage.plant("");
    fs::write(cage.home.record("processes/web/launch.json"), "damaged").expect("damaged");
    inspect();
    assert_eq!(cage.leaks_nothing(&["doctor", "--repair", "--json"]).code, 0);
    cage.is_kept(&["gateway", "web"]);
    assert_eq!(cage.leaks_nothing(&["down", "--yes", "--json"]).code, 0);
    cage.is_kept(&[]);
}
