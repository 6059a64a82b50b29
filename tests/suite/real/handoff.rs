//! Changes of a gateway's configuration under constant load: no request fails when the change succeeds, when it fails,
//! or when llamero dies in between.

use super::home::{Home, property};
use super::load::{Clients, Load, Target};
use crate::fakes::upstream::FakeUpstream;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

const PORT: u16 = 18430;
const UNIT: &str = "swaps-gateway.service";
const CLIENTS: Clients = Clients { fresh: 6, kept: 3, streaming: 3, thinks: Duration::from_millis(400) };

/// Writes the manifest with these models beside the one that clients ask for.
fn manifest(home: &Home, upstream: &FakeUpstream, models: &[String], settings: &str) {
    let models: String = models.iter().map(|name| format!("  {name}: {{provider: up, source: fake}}\n")).collect();
    home.write(
        "llamero.yaml",
        &format!(
            "version: 1\nstack: swaps\npolicy: {{health: {{timeout: 60s, stable_for: 1s}}}}\nproviders:\n  up: {{engine: \
             openai, endpoint: \"{}\"}}\nmodels:\n  chat: {{provider: up, source: fake}}\n{models}gateway:\n  engine: \
             litellm\n  runtime: systemd\n  port: {PORT}\n  command: [\"{}\"]\n  retries: 0\n  master_key: {{file: \
             ~/.config/llamero/swaps-key, generate: true}}\n{settings}",
            upstream.endpoint,
            home.part("litellm/bin/litellm"),
        ),
    );
}

/// Returns the number of changes under load: a few by default, more on request.
fn changes() -> usize {
    std::env::var("LLAMERO_SWAPS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
#[expect(clippy::print_stderr, reason = "what was measured is worth seeing")]
async fn clients_notice_no_change_of_the_gateway() {
    let upstream = FakeUpstream::start().await;
    let home = Home::new();
    let mut models: Vec<String> = Vec::new();
    manifest(&home, &upstream, &models, "");
    home.expect(0, &["apply", "--yes"]);
    let key = fs::read_to_string(home.under_home(".config/llamero/swaps-key")).expect("a key").trim().to_owned();
    let load = Load::start(&Target { port: PORT, key, model: "chat".to_owned() }, CLIENTS);

    // Good changes: each is proved, and takes its place.
    for number in 0..changes() {
        let before = property(UNIT, "InvocationID");
        models.push(format!("more-{number}"));
        manifest(&home, &upstream, &models, "");
        assert!(home.expect(0, &["plan"]).contains("handed off"));
        home.expect(0, &["apply", "--yes"]);
        assert_ne!(property(UNIT, "InvocationID"), before);
        assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    }

    // One can be rehearsed and left.
    let (before, process) = (property(UNIT, "InvocationID"), property(UNIT, "MainPID"));
    let rehearsed: Vec<String> = models.iter().cloned().chain(["rehearsed".to_owned()]).collect();
    manifest(&home, &upstream, &rehearsed, "");
    assert!(home.expect(0, &["apply", "--rehearse", "--yes"]).contains("Rehearsed and rolled back"));
    assert_eq!(property(UNIT, "InvocationID"), before);
    assert!(home.expect(0, &["plan"]).contains("handed off"));

    // A bad one never reaches a client, and the same process keeps serving.
    let drop_all = "  settings: {litellm_settings: {callbacks: [no_such_module.thing]}}\n";
    manifest(&home, &upstream, &models, drop_all);
    let said = home.expect(3, &["apply", "--yes"]);
    assert!(said.contains("rehearse instance") && said.contains("its successor"), "{said}");
    assert_eq!((property(UNIT, "InvocationID"), property(UNIT, "MainPID")), (before.clone(), process));

    // llamero dies while a successor is up: it is found, cleared away, and the change is made.
    models.push("last".to_owned());
    manifest(&home, &upstream, &models, "");
    let mut apply = home.command(&["apply", "--yes"]).stderr(Stdio::null()).spawn().expect("it runs");
    std::thread::sleep(Duration::from_secs(4));
    apply.kill().expect("killed");
    apply.wait().expect("gone");
    assert_eq!(property(UNIT, "InvocationID"), before, "clients are still served by the one before");
    home.expect(0, &["apply", "--yes"]);
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    let instances = fs::read_dir(home.under_home(".config/systemd/user")).expect("units").flatten();
    let instances = instances.filter(|entry| entry.file_name().to_string_lossy().starts_with("swaps-gateway-"));
    assert_eq!(instances.count(), 1);

    let presence = load.end().await;
    eprintln!("| what | requests | failed | cut | slowest first byte | longest pause |");
    eprintln!("|---|---|---|---|---|---|");
    eprintln!("| {} changes, a bad one and a killed one {presence}", changes() + 1);
    assert_eq!((&presence.failures, &presence.cut), (&vec![], &vec![]), "no client noticed");
    assert!(presence.requests > 200, "too few for a result: {}", presence.requests);

    // An unmanaged unit with a successor's name is left alone, and the next number is used.
    let units = home.under_home(".config/systemd/user");
    let number =
        property(UNIT, "Id").trim_end_matches(".service").rsplit('-').next().and_then(|it| it.parse::<u64>().ok());
    let theirs = units.join(format!("swaps-gateway-{}.service", number.expect("a number") + 1));
    fs::write(&theirs, "[Service]\nExecStart=/bin/sleep 1000\n").expect("written");
    models.push("after".to_owned());
    manifest(&home, &upstream, &models, "");
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(fs::read_to_string(&theirs).expect("it is there"), "[Service]\nExecStart=/bin/sleep 1000\n");
    fs::remove_file(&theirs).expect("removed");

    // Words of its own make it a plain unit, and without them it hands its port on again: each is a restart, and said.
    manifest(&home, &upstream, &models, "  args: [--detailed_debug]\n");
    assert!(home.expect(0, &["plan"]).contains("restart"));
    home.expect(0, &["apply", "--yes"]);
    let said = home.expect(0, &["plan"]);
    assert!(said.contains("Nothing to do"), "{said}");
    assert!(!units.join("swaps-gateway.socket").exists());
    home.expect(0, &["rollback", "--yes"]);
    assert!(home.expect(0, &["status"]).contains("gateway") && units.join("swaps-gateway.socket").exists());

    // Another port is another address: that is a restart, and said.
    let text = fs::read_to_string(home.path("llamero.yaml")).expect("read");
    home.write("llamero.yaml", &text.replace(&PORT.to_string(), &(PORT + 1).to_string()));
    assert!(home.expect(0, &["plan"]).contains("restart"));
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["down", "--purge", "--yes"]);
    let socket = units.join("swaps-gateway.socket");
    fs::write(&socket, "[Socket]\nListenStream=127.0.0.1:1\n").expect("written");
    let said = home.expect(1, &["apply", "--yes"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("swaps-gateway.socket exists and is not managed by llamero"), "{said}");
    assert!(fs::read_to_string(&socket).expect("it is there").contains("127.0.0.1:1"));
    fs::remove_file(&socket).expect("removed");
    let left = fs::read_dir(home.under_home(".config/systemd/user")).expect("units").flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("swaps")).collect();
    assert!(left.is_empty(), "{left:?}");
}
