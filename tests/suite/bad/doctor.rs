//! Damaged records and their repair.

use super::home::{Home, PATIENT, UNHEALTHY, answer, port, run, web};
use crate::fakes::docker::{FakeDocker, Reply};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;

struct Stack {
    home: Home,
    ports: [u16; 2],
}

impl Stack {
    /// Applies a stack of two servers twice.
    fn new() -> Self {
        let stack = Self { home: Home::new(), ports: [port(), port()] };
        for answer in ["one", "two"] {
            stack.revision(answer, "");
            stack.home.expect(0, &["apply", "--yes"]);
        }
        stack
    }

    fn revision(&self, answer: &str, more: &str) {
        let [first, second] = self.ports;
        let services = format!("services:\n{}{}", web("web", first, answer, more), web("other", second, "stays", ""));
        self.home.manifest_with(PATIENT, &services);
    }

    fn codes(&self) -> Vec<String> {
        let said = self.home.llamero(&["doctor", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said}"));
        let findings = document["findings"].as_array().expect("findings");
        assert_eq!(said.code, if findings.is_empty() { 0 } else { 2 }, "{said}");
        findings.iter().map(|finding| finding["code"].as_str().expect("a code").to_owned()).collect()
    }

    /// Asserts that every server runs, that none would be recreated, and that a failure still rolls back to them.
    #[track_caller]
    fn is_whole(&self, before: &BTreeSet<u32>) {
        let Self { home, ports } = self;
        home.expect(0, &["plan"]).has(&["Nothing to do"]);
        home.expect(0, &["apply", "--yes"]);
        assert_eq!(&home.processes(), before, "the running servers were rediscovered and left alone");
        self.revision("three", UNHEALTHY);
        home.expect(3, &["apply", "--yes"]);
        assert_eq!(answer(ports[0]).as_deref(), Some("two"));
        assert_eq!(answer(ports[1]).as_deref(), Some("stays"));
        home.expect(0, &["down", "--purge", "--yes"]);
        assert!(home.processes().is_empty());
    }
}

#[test]
fn doctor_reports_intact_records() {
    let stack = Stack::new();
    let before = stack.home.listing();
    stack.home.expect(0, &["doctor"]).has(&["every record is intact"]);
    assert!(stack.codes().is_empty());
    assert_eq!(stack.home.listing(), before, "looking writes nothing");
    stack.home.expect(0, &["doctor", "--repair"]).has(&["every record is intact"]);
}

/// Damages records, follows the hint, and continues.
#[track_caller]
fn is_repaired(records: &[&str], damage: impl Fn(&[u8]) -> Vec<u8>) {
    is_repaired_after(records, ("record-damaged", "is damaged"), damage);
}

/// Returns a record as an unreleased llamero sealed it.
fn of_layout_1(bytes: &[u8]) -> Vec<u8> {
    let (_, body) = std::str::from_utf8(bytes).expect("text").split_once('\n').expect("a seal");
    format!("llamero state 1 {}\n{body}", llamero::resource::Digest::of(body)).into_bytes()
}

#[test]
fn records_of_an_unreleased_layout_are_refused_and_repaired() {
    let records = [
        "generations/1/desired",
        "generations/1/outcome",
        "generations/2/desired",
        "generations/2/outcome",
        "processes/other/launch.json",
        "processes/other/state.json",
        "processes/web/launch.json",
        "processes/web/state.json",
    ];
    let message = "was written by an unreleased llamero (layout 1)";
    is_repaired_after(&records, ("record-unreleased", message), of_layout_1);
}

#[test]
fn a_damaged_failure_record_or_suspension_is_moved_aside() {
    let stack = Stack::new();
    for name in ["quarantine", "suspended"] {
        fs::write(stack.home.record(name), "llamero state").expect("damaged");
        stack.home.expect(1, &["apply", "--yes"]).has(&["is damaged", "llamero doctor --repair"]);
        assert_eq!(stack.codes(), ["record-damaged"]);
        stack.home.expect(0, &["doctor", "--repair"]).has(&["no longer", "every record is intact"]);
        stack.home.expect(0, &["apply", "--yes"]);
    }
}

#[track_caller]
fn is_repaired_after(records: &[&str], (code, message): (&str, &str), damage: impl Fn(&[u8]) -> Vec<u8>) {
    let stack = Stack::new();
    let Stack { home, .. } = &stack;
    let before = home.processes();
    let mut damaged = Vec::new();
    for record in records {
        let path = home.record(record);
        let bytes = damage(&fs::read(&path).expect("a record"));
        fs::write(&path, &bytes).expect("damaged");
        damaged.push((path, bytes));
    }
    let listing = home.listing();
    for words in [&["plan"][..], &["apply", "--yes"]] {
        let said = home.llamero(words);
        assert_eq!(said.code, 1, "{said}");
        said.has(&[message, "llamero doctor --repair"]);
        assert!(!said.out.contains("+ create") && !said.err.contains("+ create"), "{said}");
    }
    assert_eq!(stack.codes(), vec![code; records.len()]);
    let said = home.expect(2, &["doctor"]);
    for (path, _) in &damaged {
        said.has(&[code, &path.display().to_string(), "llamero doctor --repair"]);
    }
    assert_eq!(
        home.listing().keys().collect::<Vec<_>>(),
        listing.keys().collect::<Vec<_>>(),
        "nothing was repaired yet"
    );
    home.expect(0, &["doctor", "--repair"]).has(&["repaired", "every record is intact"]);
    for (path, bytes) in damaged {
        let aside = format!("{}.damaged", path.display());
        assert_eq!(fs::read(&aside).expect("it was moved aside"), bytes, "{aside}");
    }
    stack.is_whole(&before);
}

#[test]
fn a_damaged_revision_is_repaired() {
    is_repaired(&["generations/2/desired"], |bytes| bytes[..bytes.len() / 2].to_vec());
}

#[test]
fn a_damaged_outcome_is_repaired() {
    is_repaired(&["generations/2/outcome"], |bytes| bytes.iter().map(|byte| byte ^ 1).collect());
}

#[test]
fn damaged_server_records_are_repaired() {
    is_repaired(&["processes/web/launch.json", "processes/web/state.json"], |bytes| bytes[..bytes.len() - 1].to_vec());
}

#[test]
fn all_damaged_records_are_repaired_at_once() {
    let records = [
        "generations/1/desired",
        "generations/1/outcome",
        "generations/2/outcome",
        "processes/other/launch.json",
        "processes/web/launch.json",
        "processes/web/state.json",
    ];
    is_repaired(&records, |_| Vec::new());
}

#[test]
fn a_server_without_a_record_is_found_and_not_restarted() {
    let stack = Stack::new();
    let before = stack.home.processes();
    for record in ["launch.json", "state.json"] {
        fs::remove_file(stack.home.record("processes/web").join(record)).expect("removed");
    }
    stack.home.expect(0, &["plan"]).has(&["Nothing to do"]);
    assert_eq!(stack.codes(), ["record-lost"]);
    stack.home.expect(0, &["doctor", "--repair"]).has(&["process `web` was rebuilt", "every record is intact"]);
    assert_eq!(stack.codes(), [""; 0]);
    stack.is_whole(&before);
}

#[test]
fn two_damaged_versions_of_a_record_are_both_kept() {
    let stack = Stack::new();
    for text in ["first", "second"] {
        fs::write(stack.home.record("generations/1/outcome"), text).expect("damaged");
        stack.home.expect(0, &["doctor", "--repair"]);
    }
    let text = |name: &str| fs::read_to_string(stack.home.record("generations/1").join(name)).expect("aside");
    assert_eq!((text("outcome.damaged"), text("outcome.damaged-2")), ("first".to_owned(), "second".to_owned()));
}

#[test]
fn a_record_of_a_later_version_is_left_alone() {
    let stack = Stack::new();
    let path = stack.home.record("generations/2/outcome");
    let body = "{}\n";
    let seal = llamero::resource::Digest::of(format!("3\n{body}"));
    fs::write(&path, format!("llamero state 3 {seal}\n{body}")).expect("written");
    for words in [&["plan"][..], &["apply", "--yes"], &["status"], &["down", "--yes"]] {
        stack.home.expect(1, words).has(&["schema version 3", "use the llamero version that wrote it"]);
    }
    assert_eq!(stack.codes(), ["record-newer"]);
    stack.home.expect(2, &["doctor", "--repair"]).has(&["record-newer"]);
    assert!(path.exists(), "it is not damaged");
}

#[test]
fn repair_fails_at_once_when_the_stack_is_locked() {
    let stack = Stack::new();
    fs::write(stack.home.record("generations/1/desired"), "damaged").expect("damaged");
    let lock = fs::File::open(stack.home.record("lock")).expect("the lock");
    lock.lock().expect("it is free");
    stack.home.expect(5, &["doctor", "--repair"]);
    stack.home.expect(2, &["doctor"]).has(&["record-damaged"]);
}

/// A gateway and a server with a secret, added to `web`; `config` sets the path of the configuration.
fn more(ports: [u16; 2], config: &str) -> String {
    let program = std::env::current_exe().expect("this program");
    let [gateway, other] = ports;
    format!(
        "gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n{config}  \
         command: [sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]\n  \
         env: {{PORT: \"{gateway}\", ANSWER: '{{\"data\": []}}'}}\n  master_key: {{file: ~/key}}\n{}    \
         secrets: {{TOKEN: {{file: ~/key}}}}\n",
        program.display(),
        web("other", other, "two", "").replacen("  other:", "services:\n  other:", 1),
    )
}

#[test]
fn resources_of_a_damaged_revision_are_found_at_llameros_paths() {
    let home = Home::new();
    let ports = [port(), port(), port()];
    home.write("key", "secret");
    let one = format!("services:\n{}", web("web", ports[0], "one", ""));
    home.manifest_with(PATIENT, &one);
    home.expect(0, &["apply", "--yes"]);
    let chosen = home.path("chosen/litellm.yaml");
    home.manifest_with(PATIENT, &more([ports[1], ports[2]], &format!("  also_at: [\"{}\"]\n", chosen.display())));
    home.expect(0, &["apply", "--yes"]);
    let live = [home.path(".config/llamero/bad/litellm.yaml"), home.record("secrets/other.env")];
    assert!(live.iter().chain([&chosen]).all(|path| path.exists()));

    fs::write(home.record("generations/2/desired"), "damaged").expect("damaged");
    let said = home.expect(0, &["doctor", "--repair"]);
    said.has(&[
        "rediscovered by ownership markers",
        "recovered: file/gateway, file/gateway-secrets, file/other-secrets",
    ]);
    said.has(&["may remain", "`gateway.config`", "generations/2/desired.damaged"]);
    let record = fs::read_to_string(home.record("generations/2/recovered")).expect("a record");
    assert!(record.contains("litellm.yaml") && !record.contains("TOKEN"), "{record}");
    assert!(!home.expect(0, &["doctor", "--repair"]).out.contains("rediscovered"), "once is enough");

    home.manifest_with(PATIENT, &one);
    home.expect(0, &["apply", "--yes", "--prune-anyway"]);
    for path in &live {
        assert!(!path.exists(), "{} is no longer managed", path.display());
    }
    assert!(chosen.exists(), "no marker leads to it");
    assert_eq!(home.processes().len(), 2);
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_a_damaged_revision_is_found_by_its_label() {
    let engine = FakeDocker::start(|asked| match asked.what.as_str() {
        "GET /containers/json" => Some(Reply::Json(200, json!([{"Id": "0123456789ab"}]))),
        "GET /containers/0123456789ab/json" | "GET /containers/lost/json" => {
            let labels = json!({"llamero.stack": "bad", "llamero.resource": "container/lost",
                "llamero.fingerprint": "1:00112233445566778899aabbccddeeff"});
            Some(Reply::Json(
                200,
                json!({"Id": "0123456789ab", "Name": "/lost", "Image": "sha256:1", "State": {"Status": "exited"},
                    "RestartCount": 0, "Config": {"Image": "redis:7", "Labels": labels}, "HostConfig": {}}),
            ))
        }
        _ => None,
    });
    let stack = Stack::new();
    let llamero = |words: &[&str]| {
        run(stack.home.command(words).env("DOCKER_HOST", format!("unix://{}", engine.socket().display())))
    };
    assert!(!llamero(&["plan"]).out.contains("lost"), "no engine is queried for a stack without containers");
    fs::write(stack.home.record("generations/2/desired"), "damaged").expect("damaged");
    let said = llamero(&["doctor", "--repair"]);
    said.has(&["recovered: container/lost"]);
    assert!(!said.out.contains("no container engine"), "{said}");
    llamero(&["plan"]).has(&["- remove", "container/lost"]);
}
