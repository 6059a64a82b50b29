//! Peers that accept and never answer: every command ends in time, with its own exit code.

use super::home::{CommandOutput, Home, answer, answering, port, run, web};
use llamero::history::{Ending, History, Outcome};
use llamero::resource::{Kind, ResourceId, Runtime, Spec};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest that a verb may take against a peer that never answers.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs llamero against the bus at `bus` and returns its output; fails when it takes too long.
#[track_caller]
fn in_time(home: &Home, words: &[&str], bus: Option<&Path>) -> CommandOutput {
    let begun = Instant::now();
    let mut command = home.command(words);
    if let Some(bus) = bus {
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()));
    }
    let said = run(&mut command);
    assert!(begun.elapsed() < PATIENCE, "llamero {} took {:?}: {said}", words.join(" "), begun.elapsed());
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
    let mut revision = last.revision;
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
        ended: revision.begun,
        steps: vec![],
        way_back: vec![],
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
    for words in [&["plan"][..], &["apply", "--yes"]] {
        let said = in_time(&home, words, Some(&bus));
        assert_eq!(said.code, 1, "{said}");
        said.has(&["cannot see unit/bad-web", "user manager"]);
    }
    // A stack that is known to run there.
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    home.expect(0, &["apply", "--yes"]);
    as_units(&home);
    let said = in_time(&home, &["status"], Some(&bus));
    assert_eq!(said.code, 2, "{said}");
    let before = home.listing();
    for words in [&["plan"][..], &["apply", "--yes"], &["down", "--yes"], &["rollback", "--yes"]] {
        let said = in_time(&home, words, Some(&bus));
        assert_eq!(said.code, 1, "llamero {}: {said}", words.join(" "));
        said.has(&["cannot see unit/bad-web"]);
    }
    let permanent = |listing: &BTreeMap<PathBuf, _>| listing.keys().cloned().collect::<Vec<_>>();
    assert_eq!(permanent(&home.listing()), permanent(&before), "nothing was changed");
    assert_eq!(answer(port).as_deref(), Some("one"));
}

#[test]
fn a_server_that_never_answers_is_rolled_back_in_time() {
    let home = Home::new();
    let port = port();
    let revision = |answer: &str, more: &str| home.manifest(&format!("services:\n{}", web("web", port, answer, more)));
    revision("one", "");
    home.expect(0, &["apply", "--yes"]);
    revision("two", ", SILENT_WHEN: \"/\"");
    let said = in_time(&home, &["apply", "--yes"], None);
    assert_eq!(said.code, 3, "{said}");
    assert_eq!(answer(port).as_deref(), Some("one"));
}

#[test]
fn a_server_that_hangs_times_out() {
    let home = Home::new();
    let port = port();
    let silence = home.path("silence");
    let more = format!(", SILENT_WHEN: \"{}\"", silence.display());
    let revision = |answer: &str| home.manifest(&format!("services:\n{}", web("web", port, answer, &more)));
    revision("one");
    home.expect(0, &["apply", "--yes"]);
    fs::write(&silence, "").expect("written");
    assert_eq!(in_time(&home, &["plan"], None).code, 0);
    let said = in_time(&home, &["status"], None);
    assert_eq!(said.code, 2, "{said}");
    let said = in_time(&home, &["apply", "--yes"], None);
    assert_eq!(said.code, 2, "it matches the manifest but is unhealthy: {said}");
    // A pre-existing failure does not fail another change.
    let other = self::port();
    home.manifest(&format!("services:\n{}{}", web("web", port, "one", &more), web("other", other, "new", "")));
    let said = in_time(&home, &["apply", "--yes"], None);
    assert_eq!(said.code, 2, "{said}");
    assert_eq!(answer(other).as_deref(), Some("new"));
    assert_eq!(in_time(&home, &["down", "--yes"], None).code, 0);
    assert!(home.processes().is_empty());
}

#[test]
fn a_hung_external_provider_times_out() {
    let home = Home::new();
    let (silent, gateway) = (silent(), port());
    let program = std::env::current_exe().expect("this program");
    home.manifest(&format!(
        "providers:\n  theirs: {{engine: ollama, runtime: external, endpoint: \"http://127.0.0.1:{silent}\"}}\n\
         models:\n  tiny: {{provider: theirs, load: pinned}}\n\
         gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n  \
         command: [sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]\n  \
         env: {{PORT: \"{gateway}\", ANSWER: '{{\"data\": [{{\"id\": \"tiny\"}}]}}'}}\n  \
         master_key: {{file: ~/key, generate: true}}\n",
        program.display()
    ));
    let verbs = [&["plan"][..], &["apply", "--yes"], &["status"], &["down", "--yes"]];
    let said = verbs.map(|words| in_time(&home, words, None));
    let all = said.iter().map(CommandOutput::to_string).collect::<String>();
    assert_eq!(said.map(|said| said.code), [0, 0, 0, 0], "{all}");
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
    assert_eq!(in_time(&home, &["plan"], None).code, 0);
    assert_eq!(in_time(&home, &["status"], None).code, 0);
}
