//! What an interrupted hand-off leaves behind: in whatever state an instance is, the next apply clears it away and goes
//! on.

use super::fake_litellm::FakeLitellm;
use super::home::{Home, post, property};
use super::killer::Killer;
use crate::clock::until;
use llamero::resource::{Kind, ResourceId};
use llamero::systems::files;
use llamero::systems::systemd::Systemd;
use llamero::targets::unit;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const PORT: u16 = 18432;
const UNIT: &str = "orphans-gateway.service";
const BLOCKER: &str = "orphans-blocker.service";
const LONG: Duration = Duration::from_secs(120);

/// The default number of kills.
const KILLS: u32 = 30;

struct Stack {
    home: Home,
    litellm: FakeLitellm,
    models: u32,
}

impl Stack {
    fn new() -> Self {
        let home = Home::new();
        let litellm = FakeLitellm::install(&home);
        Self { home, litellm, models: 0 }
    }

    /// Declares another set of models.
    fn change(&mut self) {
        self.models += 1;
        let text = format!(
            "version: 1\nstack: orphans\npolicy: {{health: {{timeout: 60s, stable_for: 0s}}}}\nproviders:\n  up: {{engine: \
             openai, endpoint: \"http://127.0.0.1:1/v1\"}}\nmodels:\n  chat: {{provider: up, source: fake}}\n  only-{}: \
             {{provider: up, source: fake}}\ngateway:\n  engine: litellm\n  runtime: systemd\n  port: {PORT}\n  command: \
             [\"{}\"]\n  master_key: {{file: ~/.config/llamero/orphans-key, generate: true}}\n",
            self.models,
            self.litellm.program(),
        );
        self.home.write("llamero.yaml", &text);
    }

    fn units(&self) -> PathBuf {
        self.home.under_home(".config/systemd/user")
    }

    /// Returns the numbers of the instances that have a unit file.
    fn instances(&self) -> BTreeSet<u64> {
        let number = |name: String| name.strip_prefix("orphans-gateway-")?.strip_suffix(".service")?.parse().ok();
        files::names(&self.units()).expect("units").into_iter().filter_map(number).collect()
    }

    fn current(&self) -> u64 {
        let target = files::link_target(&self.units().join(UNIT)).expect("read").expect("a link");
        let name = target.display().to_string();
        name.trim_end_matches(".service").rsplit('-').next().and_then(|it| it.parse().ok()).expect("a number")
    }

    /// Applies, which must converge: the gateway offers what is declared, whoever answers, and nothing else is left.
    #[track_caller]
    fn converges(&self, what: &str) {
        let (code, said) = self.home.llamero(&["apply", "--yes"]);
        assert_eq!(code, 0, "after {what}:\n{said}");
        let (code, plan) = self.home.llamero(&["plan"]);
        assert!(code == 0 && plan.contains("Nothing to do"), "after {what}:\n{said}\n{plan}");
        assert_eq!(self.instances(), BTreeSet::from([self.current()]), "after {what}:\n{said}");
        let key = fs::read_to_string(self.home.under_home(".config/llamero/orphans-key")).expect("a key");
        for _ in 0..8 {
            let answer = post(PORT, "/v1/models", key.trim(), "{}");
            assert!(answer.contains(&format!("\"only-{}\"", self.models)), "after {what}:\n{said}\n{answer}");
        }
        let failed = systemctl(&["list-units", "--all", "--state=failed", "--no-legend", "orphans-gateway*"]);
        assert_eq!(failed, "", "after {what}:\n{said}");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.litellm.hold_back(None);
        // A test that fails leaves nothing that runs.
        let _ = self.home.llamero(&["down", "--purge", "--yes", "--stack", "orphans"]);
        let _ = Command::new("systemctl").args(["--user", "stop", BLOCKER]).status();
        let _ = fs::remove_file(self.units().join(BLOCKER));
    }
}

fn systemctl(words: &[&str]) -> String {
    let output = Command::new("systemctl").arg("--user").args(words).output().expect("systemctl runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A state of an orphan. None can reach a start limit: instances have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its files are written, and the manager has not loaded them.
    Written,
    /// Its start waits for another's.
    Queued,
    /// It is starting, and ignores SIGTERM.
    Starting,
    /// It is up, and clients do not reach it.
    Held,
    /// Clients reach it beside the current one.
    Accepting,
    /// It has taken the current one's place, which clients reach as before.
    Current,
    /// It was asked to stop, and does not.
    Stopping,
    /// It died and waits to be started again.
    Crashing,
    /// It died for good.
    Failed,
}

const STATES: [State; 9] = [
    State::Written,
    State::Queued,
    State::Starting,
    State::Held,
    State::Accepting,
    State::Current,
    State::Stopping,
    State::Crashing,
    State::Failed,
];

/// Leaves an instance beside the current one, as an apply that was killed does.
async fn plant(stack: &Stack, systemd: &Systemd, state: State) {
    let (current, number) = (stack.current(), stack.current() + 1);
    let (name, runtime) = (format!("orphans-gateway-{number}"), systemd.runtime_folder().await.expect("a folder"));
    let id = ResourceId::new(Kind::Unit, "orphans-gateway");
    let service = unit::instance_name(&id, number);
    let gate = runtime.join(unit::gate_name(&id, number));
    let text = fs::read_to_string(stack.units().join(format!("orphans-gateway-{current}.service"))).expect("a unit");
    let mut text = text
        .replace(&format!("orphans-gateway-{current}."), &format!("{name}."))
        .replace(&format!("--generation {current} "), &format!("--generation {number} "))
        // Of two assignments the last holds: what ignores the signal is killed soon.
        .replace("KillMode=mixed", "KillMode=mixed\nTimeoutStopSec=2");
    if matches!(state, State::Crashing | State::Failed) {
        text = text.replace("--private", "--app no_such_module:app --private");
    }
    if state == State::Failed {
        text = text.replace("Restart=on-failure", "Restart=no");
    }
    if state == State::Queued {
        text = text.replace("StartLimitIntervalSec=0", &format!("StartLimitIntervalSec=0\nAfter={BLOCKER}"));
        let blocker = "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n";
        fs::write(stack.units().join(BLOCKER), blocker).expect("written");
    }
    stack.litellm.hold_back(matches!(state, State::Starting | State::Stopping).then_some(number));
    fs::write(&gate, "").expect("written");
    fs::write(stack.units().join(&service), text).expect("written");
    if state == State::Written {
        return;
    }
    systemd.reload().await.expect("a reload");
    if state == State::Queued {
        systemd.begin_start(BLOCKER).await.expect("a call");
    }
    systemd.begin_start(&service).await.expect("a call");
    match state {
        State::Held => reports(systemd, &service, "held").await,
        State::Accepting | State::Current => {
            reports(systemd, &service, "held").await;
            files::remove(&gate).expect("removed");
            reports(systemd, &service, "accepting").await;
        }
        State::Crashing => until("SubState=auto-restart", || property(&service, "SubState") == "auto-restart"),
        State::Failed => until("Result=exit-code", || property(&service, "Result") == "exit-code"),
        State::Starting => stack.litellm.until_held_back(),
        State::Stopping => {
            stack.litellm.until_held_back();
            systemd.begin_stop(&service).await.expect("a call");
            until("ActiveState=deactivating", || property(&service, "ActiveState") == "deactivating");
        }
        State::Queued => assert!(systemd.unit(&service).await.expect("a unit").has_job),
        State::Written => unreachable!("nothing was started"),
    }
    if state == State::Current {
        files::link(&stack.units().join(UNIT), service.as_ref()).expect("linked");
        systemd.reload().await.expect("a reload");
    }
}

async fn reports(systemd: &Systemd, unit: &str, word: &str) {
    let said = systemd.until_it_reports(unit, word, LONG).await;
    let says = said.is_ok_and(|live| live.reports(word));
    assert!(says, "not `{word}`:\n{}", systemctl(&["status", "--full", "--lines=20", unit]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
async fn an_orphan_in_any_state_is_cleared_away() {
    let systemd = Systemd::connect().await.expect("a systemd user manager");
    let mut stack = Stack::new();
    stack.change();
    stack.converges("the first apply");
    for state in STATES {
        for changes in [false, true] {
            plant(&stack, &systemd, state).await;
            assert_eq!(stack.instances().len(), 2);
            if changes {
                stack.change();
            }
            let plan = stack.home.llamero(&["plan"]).1;
            assert!(plan.contains("an orphaned instance"), "{state:?}: {plan}");
            stack.converges(&format!("{state:?}, and the manifest changes: {changes}"));
            let _ = systemctl(&["stop", BLOCKER]);
        }
    }
    // What has retired ends once its connections have.
    let left = || systemctl(&["list-units", "--all", "--no-legend", "--plain", "orphans-gateway-*.service"]);
    until("one instance is left", || left().lines().count() == 1);
    stack.home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(stack.instances(), BTreeSet::new());
    assert_eq!(left(), "");
}

#[test]
#[ignore = "needs a systemd user manager and the test environment"]
#[expect(clippy::print_stdout, reason = "the lane shows what it did")]
fn a_hand_off_may_be_killed_at_random_instants() {
    let kills = std::env::var("LLAMERO_KILLS").ok().map_or(KILLS, |number| number.parse().expect("a number"));
    let mut stack = Stack::new();
    stack.change();
    stack.home.expect(0, &["apply", "--yes"]);
    stack.change();
    let mut killer = Killer::measure(&stack.home);
    let mut interrupted = 0;
    for kill in 0..kills {
        stack.change();
        let killed = killer.kill(&stack.home);
        interrupted += u32::from(killed.interrupted);
        stack.converges(&format!("kill {kill}, whose last event was {:?}", killed.events.lines().last()));
    }
    println!("{interrupted} of {kills} applies were killed while they were at work");
    assert!(interrupted * 2 >= kills, "too few were interrupted for a result: {interrupted} of {kills}");
    stack.home.expect(0, &["down", "--purge", "--yes"]);
}
