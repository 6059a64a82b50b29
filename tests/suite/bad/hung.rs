//! Peers that accept and never answer: every command ends in time, with its own exit code.

use super::home::{CommandOutput, Home, SILENT, answer, answering, port, said, web};
use crate::clock::{HANG, ends_within};
use llamero::history::{Ending, History, Outcome, Revision};
use llamero::resource::{Kind, ResourceId, Runtime, Spec};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Runs llamero several times at once, against the bus at `bus`; fails when one of them hangs.
#[track_caller]
fn side_by_side<const N: usize>(home: &Home, verbs: [&[&str]; N], bus: Option<&Path>) -> [CommandOutput; N] {
    let children = verbs.map(|words| {
        let mut command = home.command(words);
        if let Some(bus) = bus {
            command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("llamero runs")
    });
    children.map(|mut child| {
        assert!(ends_within(&mut child, HANG), "it hangs");
        said(child)
    })
}

/// Runs llamero, which must end.
#[track_caller]
fn in_time(home: &Home, words: &[&str], bus: Option<&Path>) -> CommandOutput {
    let [said] = side_by_side(home, [words], bus);
    said
}

/// A bus that accepts and never answers, for as long as the test lives.
fn silent_bus(home: &Home) -> PathBuf {
    let path = home.path("bus");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    path
}

/// A server that accepts and never answers, for as long as the test lives.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    port
}

/// Puts on record that all servers of the last generation are units.
fn as_units(home: &Home) {
    let history = History::new(home.record(""));
    let last = history.committed().expect("whole records").expect("a generation");
    let mut revision = Revision::clone(&last.revision);
    revision.desired.resources = std::mem::take(&mut revision.desired.resources)
        .into_values()
        .map(|mut resource| {
            if let Spec::Run(run) = &mut resource.spec {
                run.runtime = Runtime::Systemd;
                resource.id = ResourceId::new(Kind::Unit, format!("bad-{}", resource.id.name));
            }
            (resource.id.clone(), resource)
        })
        .collect();
    let number = history.begin(&revision).expect("begun");
    let outcome = Outcome {
        why: None,
        ending: Ending::Committed,
        touched: true,
        ended: revision.begun,
        steps: vec![],
        rollback: vec![],
        unhealthy_before: vec![],
        start_times: BTreeMap::new(),
        contents: BTreeMap::new(),
    };
    history.end(number, &outcome).expect("ended");
}

#[test]
fn a_hung_bus_times_out() {
    let home = Home::new();
    let port = port();
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["down", "--yes"]);
    let bus = silent_bus(&home);
    let unit = web("web", port, "one", "").replace("runtime: process", "runtime: systemd");
    home.manifest(&format!("services:\n{unit}"));
    for said in side_by_side(&home, [&["plan"], &["apply", "--yes"]], Some(&bus)) {
        assert_eq!(said.code, 1, "{said}");
        said.has(&["cannot see unit/bad-web", "user manager"]);
    }
}

#[test]
fn a_stack_behind_a_hung_bus_is_not_changed() {
    let attempt = |verbs: [&[&str]; 2]| {
        let home = Home::new();
        let port = port();
        home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
        home.expect(0, &["apply", "--yes"]);
        as_units(&home);
        let bus = silent_bus(&home);
        let before = home.listing();
        for (words, said) in verbs.iter().zip(side_by_side(&home, verbs, Some(&bus))) {
            let expected = if words == &["status"] { 2 } else { 1 };
            assert_eq!(said.code, expected, "llamero {}: {said}", words.join(" "));
            said.has(&["cannot see unit/bad-web"]);
        }
        let paths = |listing: &BTreeMap<PathBuf, _>| listing.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(&home.listing()), paths(&before), "nothing was changed");
        assert_eq!(answer(port).as_deref(), Some("one"));
    };
    let attempts: [[&[&str]; 2]; 3] =
        [[&["status"], &["apply", "--yes"]], [&["plan"], &["down", "--yes"]], [&["plan"], &["rollback", "--yes"]]];
    std::thread::scope(|scope| {
        for verbs in attempts {
            scope.spawn(move || attempt(verbs));
        }
    });
}

#[test]
fn a_server_that_never_answers_is_rolled_back_in_time() {
    let home = Home::new();
    let port = port();
    let revision = |answer: &str, more: &str| home.manifest(&format!("services:\n{}", web("web", port, answer, more)));
    revision("one", "");
    home.expect(0, &["apply", "--yes"]);
    revision("two", SILENT);
    let said = in_time(&home, &["apply", "--yes"], None);
    assert_eq!(said.code, 3, "{said}");
    assert_eq!(answer(port).as_deref(), Some("one"));
}

/// A stack whose only server has stopped to answer.
struct Hangs {
    home: Home,
    server: String,
}

impl Hangs {
    fn new() -> Self {
        let home = Home::new();
        let silence = home.path("silence");
        let server = web("web", port(), "one", &format!(", SILENT_WHEN: \"{}\"", silence.display()));
        let stack = Self { home, server };
        stack.revision("");
        stack.home.expect(0, &["apply", "--yes"]);
        fs::write(&silence, "").expect("written");
        stack
    }

    fn revision(&self, more: &str) {
        self.home.manifest(&format!("services:\n{}{more}", self.server));
    }
}

#[test]
fn a_server_that_hangs_is_unhealthy() {
    let stack = Hangs::new();
    let verbs: [&[&str]; 3] = [&["plan"], &["status"], &["apply", "--yes"]];
    let said = side_by_side(&stack.home, verbs, None);
    assert_eq!(said.each_ref().map(|said| said.code), [0, 2, 2], "it matches the manifest and is unhealthy: {said:?}");
}

#[test]
fn a_server_that_hangs_does_not_count_against_a_change_of_another() {
    let stack = Hangs::new();
    let other = port();
    stack.revision(&web("other", other, "new", ""));
    let said = in_time(&stack.home, &["apply", "--yes"], None);
    assert_eq!(said.code, 2, "{said}");
    assert_eq!(answer(other).as_deref(), Some("new"));
}

#[test]
fn a_server_that_hangs_is_removed() {
    let stack = Hangs::new();
    assert_eq!(in_time(&stack.home, &["down", "--yes"], None).code, 0);
    assert!(stack.home.processes().is_empty());
}

#[test]
fn a_hung_external_provider_times_out() {
    let home = Home::new();
    let (silent, gateway) = (silent(), port());
    let program = std::env::current_exe().expect("this program");
    home.manifest(&format!(
        "providers:\n  theirs: {{engine: ollama, runtime: external, endpoint: \"http://127.0.0.1:{silent}\"}}\n\
         models:\n  tiny: {{provider: theirs}}\n\
         gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n  \
         command: [sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]\n  \
         env: {{PORT: \"{gateway}\", ANSWER: '{{\"data\": [{{\"id\": \"tiny\"}}]}}'}}\n  \
         master_key: {{file: ~/key, generate: true}}\n",
        program.display()
    ));
    let verbs = [&["plan"][..], &["apply", "--yes"], &["status"], &["down", "--yes"]];
    let said = verbs.map(|words| in_time(&home, words, None));
    let all = said.iter().map(CommandOutput::to_string).collect::<String>();
    assert_eq!(said.map(|said| said.code), [0, 0, 2, 0], "{all}");
    assert!(home.processes().is_empty());
}

#[test]
fn a_hung_download_server_does_not_block_a_plan() {
    let home = Home::new();
    let (silent, first) = (silent(), answering("200 OK", "x"));
    home.manifest(&format!(
        "providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {}, command: [sleep, \"600\"]}}\n\
         models:\n  tiny: {{provider: llama, source: \"http://127.0.0.1:{silent}/tiny.gguf\", insecure: true}}\n  \
         other: {{provider: llama, source: \"http://127.0.0.1:{first}/other.gguf\", insecure: true}}\n",
        port(),
    ));
    assert_eq!(side_by_side(&home, [&["plan"], &["status"]], None).map(|said| said.code), [0, 0]);
}
