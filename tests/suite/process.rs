//! The process runtime with real servers, and with the ways in which supervisors, starters and servers die.

use crate::clock::{HANG, at_least, until_async};
use llamero::resource::{Fields, Fingerprint, Kind, ResourceId, Restart, Seconds};
use llamero::systems::process::{Error, Exit, Launch, Phase, ProcessState, Processes};
use llamero::systems::{files, proc, sealed};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const FOLDER: &str = "LLAMERO_TEST_FOLDER";

/// A folder of servers that end with the test, however it ends.
struct Home {
    folder: TempDir,
    processes: Processes,
}

fn processes(folder: &Path) -> Processes {
    Processes::new(folder.to_owned(), PathBuf::from(env!("CARGO_BIN_EXE_llamero")))
}

impl Home {
    fn new() -> Self {
        let folder = crate::folder();
        Self { processes: processes(folder.path()), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("server").join(name)
    }

    fn state(&self) -> ProcessState {
        self.processes.state("server").expect("a state")
    }

    async fn start(&self, script: &str) -> ProcessState {
        self.processes.start("server", &launch(script)).await.expect("started");
        self.state()
    }

    async fn stop(&self) {
        self.processes.stop("server", HANG).await.expect("stopped");
    }

    async fn until(&self, what: &str, holds: impl Fn(&ProcessState) -> bool) -> ProcessState {
        let mut state = self.state();
        until_async(what, async || {
            state = self.state();
            holds(&state)
        })
        .await;
        state
    }

    /// Returns the number in the file `name` in the server's folder, once there is one.
    async fn number(&self, name: &str) -> u32 {
        let read = || fs::read_to_string(self.file(name)).ok().and_then(|text| text.trim().parse().ok());
        until_async(&format!("a number in {name}"), async || read().is_some()).await;
        read().expect("it is there")
    }

    fn supervisor(&self) -> u32 {
        let text = fs::read_to_string(self.file("state.json")).expect("a state");
        let state: serde_json::Value = serde_json::from_str(unsealed(&text)).expect("JSON");
        u32::try_from(state["supervisor"]["pid"].as_u64().expect("a number")).expect("a pid")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let processes = self.processes.clone();
        let stop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            for name in processes.list().unwrap_or_default() {
                let _ = runtime.block_on(processes.stop(&name, Duration::from_millis(100)));
            }
        };
        std::thread::spawn(stop).join().expect("stopped");
    }
}

fn launch(script: &str) -> Launch {
    Launch {
        stack: "home".to_owned(),
        resource: ResourceId::new(Kind::Process, "server"),
        fingerprint: Fingerprint::of(&Fields::from([("script".to_owned(), script.into())])),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        environment_file: None,
        working_directory: None,
        stop_timeout: Seconds::new(5),
        restart: Restart::OnFailure,
    }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
}

fn lives(pid: u32) -> bool {
    proc::Identity::of(pid).is_some()
}

async fn until_gone(pid: u32) {
    until_async("the process has ended", async || !lives(pid)).await;
}

#[tokio::test]
async fn a_server_starts_is_found_and_stops() {
    let home = Home::new();
    let state = home.start("echo ready; exec sleep 600").await;
    let pid = state.pid.expect("a pid");
    assert_eq!((state.phase, state.supervised, state.restarts), (Phase::Running, true, 0));
    assert_eq!(state.running_fingerprint, Some(state.launch.fingerprint.clone()));
    let itself = format!("{}/{}", state.launch.stack, state.launch.resource);
    assert_eq!(proc::variable(pid, proc::RESOURCE), Some(itself));
    assert_eq!(processes(home.folder.path()).state("server").expect("a state"), state);
    assert_eq!(home.processes.list().expect("names"), ["server"]);
    assert_eq!(files::mode(&home.file("")).expect("a mode"), Some(0o700));
    for name in ["launch.json", "state.json", "log"] {
        assert_eq!(files::mode(&home.file(name)).expect("a mode"), Some(0o600), "{name}");
    }
    let again = home.processes.start("server", &launch("exit 0")).await;
    assert!(matches!(again, Err(Error::Running { .. })));
    assert!(matches!(home.processes.forget("server"), Err(Error::Running { .. })));

    let is_ready = || home.processes.last_lines("server", 9).contains(&"ready".to_owned());
    until_async("it is ready", async || is_ready()).await;
    home.stop().await;
    let stopped = home.state();
    assert_eq!((stopped.phase, stopped.pid, stopped.supervised), (Phase::Stopped, None, false));
    assert_eq!(stopped.exit, Some(Exit { code: None, signal: Some(15) }));
    assert!(!lives(pid));
    assert!(is_ready());
    let second = home.start("exec sleep 600").await;
    assert_ne!(second.identity, state.identity);
    home.stop().await;
    home.processes.forget("server").expect("forgotten");
    assert!(matches!(home.processes.state("server"), Err(Error::Missing(_))));
    home.stop().await;
}

/// Not a test of its own: the process that starts a server and is killed with all of its group.
#[tokio::test]
#[ignore = "run by `a_server_outlives_its_starter`"]
async fn starter() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    processes(Path::new(&folder)).start("server", &launch("exec sleep 600")).await.expect("started");
    let group = rustix::process::getpgrp();
    kill_process_group(group, Signal::KILL).expect("killed");
}

#[tokio::test]
async fn a_server_outlives_its_starter() {
    let home = Home::new();
    let mut starter = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "process::starter", "--ignored"])
        .env(FOLDER, home.folder.path())
        .process_group(0)
        .spawn()
        .expect("a starter");
    assert!(!starter.wait().expect("waited for").success());
    let state = home.state();
    assert_eq!((state.phase, state.supervised), (Phase::Running, true));
    home.stop().await;
    assert!(!lives(state.pid.expect("a pid")));
}

#[tokio::test]
async fn a_reused_pid_is_not_mistaken_for_the_server() {
    let home = Home::new();
    let state = home.start("exec sleep 600").await;
    home.stop().await;
    let mut unmanaged = Command::new("sleep").arg("600").spawn().expect("another process");
    let identity = proc::Identity::of(unmanaged.id()).expect("it lives");
    let text = fs::read_to_string(home.file("state.json")).expect("a state");
    let record: serde_json::Value = serde_json::from_str(unsealed(&text)).expect("JSON");
    let doctored = |start: u64, boot: &str| {
        let mut record = record.clone();
        let process = serde_json::json!({"pid": identity.pid, "start": start});
        record["phase"] = "running".into();
        record["boot"] = boot.into();
        record["supervisor"] = process.clone();
        record["child"] = process;
        sealed::write(&home.file("state.json"), &record).expect("written");
    };
    let boot = proc::boot().expect("a boot id");
    let cases = [(identity.start + 1, boot.as_str(), Phase::Failed), (identity.start, "another", Phase::Stopped)];
    for (start, boot, phase) in cases {
        doctored(start, boot);
        let state = home.state();
        assert_eq!((state.phase, state.pid, state.supervised), (phase, None, false));
        home.stop().await;
        assert!(lives(unmanaged.id()), "another process was stopped");
    }
    assert_ne!(state.pid, None);
    unmanaged.kill().expect("killed");
    unmanaged.wait().expect("waited for");
}

#[tokio::test]
async fn a_server_that_ignores_sigterm_is_killed_after_its_timeout() {
    let home = Home::new();
    let script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done";
    home.processes.start("server", &Launch { stop_timeout: Seconds::new(1), ..launch(script) }).await.expect("started");
    let pid = home.state().pid.expect("a pid");
    home.until("deaf", |_| home.processes.last_lines("server", 1) == ["deaf"]).await;
    at_least(Duration::from_secs(1), home.stop()).await;
    assert!(!lives(pid));
    assert_eq!(home.state().exit, Some(Exit { code: None, signal: Some(9) }));
}

#[tokio::test]
async fn a_server_that_handles_sigterm_gets_one_signal() {
    let home = Home::new();
    let script = "trap 'echo bye; sleep 0.3; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    home.start(script).await;
    home.until("up", |_| home.processes.last_lines("server", 1) == ["up"]).await;
    home.stop().await;
    assert_eq!(home.state().exit, Some(Exit { code: Some(0), signal: None }));
    let lines = home.processes.last_lines("server", 20);
    assert_eq!(lines.iter().filter(|line| *line == "bye").count(), 1, "{lines:?}");
}

#[tokio::test]
async fn orphans_in_sessions_of_their_own_are_ended_too() {
    let home = Home::new();
    let deep = "setsid sh -c 'trap \"\" TERM; echo $$ > deep; while :; do sleep 0.1; done' & exec sleep 600";
    let launch = Launch { stop_timeout: Seconds::new(1), ..launch(deep) };
    let launch = Launch { working_directory: Some(home.folder.path().join("server")), ..launch };
    fs::create_dir(home.file("")).expect("a folder");
    for supervised in [true, false] {
        home.processes.start("server", &launch).await.expect("started");
        let (server, deep) = (home.state().pid.expect("a pid"), home.number("deep").await);
        if !supervised {
            kill(home.supervisor());
            until_gone(home.supervisor()).await;
        }
        home.stop().await;
        assert!(!lives(server) && !lives(deep), "supervised: {supervised}");
        fs::remove_file(home.file("deep")).expect("removed");
    }
    // A server that dies by itself takes its orphans with it before it is started again.
    home.processes.start("server", &launch).await.expect("started");
    let (server, deep) = (home.state().pid.expect("a pid"), home.number("deep").await);
    kill(server);
    home.until("started again", |state| state.restarts == 1 && state.phase == Phase::Running).await;
    assert!(!lives(deep));
    home.stop().await;
}

#[tokio::test]
async fn a_server_that_crashes_is_started_again_and_again() {
    let home = Home::new();
    home.start("echo crash; exit 3").await;
    let state = home.until("started again", |state| state.restarts >= 2 && state.phase == Phase::BackingOff).await;
    assert_eq!((state.exit, state.supervised), (Some(Exit { code: Some(3), signal: None }), true));
    // Only what the last start printed explains how it ended.
    let lines = home.processes.last_lines("server", 100);
    assert_eq!(lines.iter().filter(|line| *line == "crash").count(), 1);
    home.stop().await;
    assert_eq!(home.state().phase, Phase::Stopped);
    let log = fs::read_to_string(home.processes.log("server")).expect("a log");
    assert!(log.lines().filter(|line| *line == "crash").count() > 2, "{log}");
    home.processes.forget("server").expect("forgotten");
}

#[tokio::test]
async fn a_clean_exit_is_final_and_a_wait_can_be_cancelled() {
    let home = Home::new();
    home.start("exit 0").await;
    let state = home.until("exited", |state| state.phase == Phase::Exited && !state.supervised).await;
    assert_eq!((state.restarts, state.pid), (0, None));
    home.start("exit 1").await;
    home.until("waiting", |state| state.phase == Phase::BackingOff).await;
    home.stop().await;
    assert_eq!(home.state().phase, Phase::Stopped);
}

#[tokio::test]
async fn a_clean_exit_without_a_clean_exit_status_is_not_final() {
    let home = Home::new();
    let launch = Launch { restart: Restart::Always, ..launch("exit 0") };
    home.processes.start("server", &launch).await.expect("started");
    let state = home.until("again", |state| state.restarts > 0).await;
    assert_eq!(state.exit, Some(Exit { code: Some(0), signal: None }));
    home.stop().await;
    assert_eq!(home.state().phase, Phase::Stopped);
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_reported_at_once() {
    let home = Home::new();
    let cases: [(&str, &str); 4] = [
        ("/not/there", "No such file"),
        ("/etc/passwd", "Permission denied"),
        ("sleep", "not an absolute path"),
        ("", "not an absolute path"),
    ];
    for (program, word) in cases {
        let launch = Launch { argv: vec![program.to_owned()], ..launch("") };
        let error = home.processes.start("server", &launch).await.expect_err("it cannot run");
        assert!(matches!(&error, Error::Unstartable { problem, .. } if problem.contains(word)), "{error}");
    }
    let nowhere = Launch { working_directory: Some("/not/there".into()), ..launch("exit 0") };
    let error = home.processes.start("server", &nowhere).await.expect_err("it cannot run");
    assert!(error.to_string().contains("/not/there is not a folder"), "{error}");
    let silent = Processes::new(home.folder.path().to_owned(), "/bin/false".into());
    let error = silent.start("server", &launch("exit 0")).await.expect_err("no supervisor");
    assert!(matches!(error, Error::SupervisorEnded { .. }), "{error}");
    for name in ["", ".", "..", "a/b"] {
        assert!(matches!(home.processes.state(name), Err(Error::Name(_))), "{name}");
    }
}

#[tokio::test]
async fn a_server_without_supervisor_is_still_managed() {
    let home = Home::new();
    let before = home.start("exec sleep 600").await;
    let supervisor = home.supervisor();
    kill(supervisor);
    until_gone(supervisor).await;
    let state = home.state();
    assert_eq!((state.phase, &state.identity, state.supervised), (Phase::Running, &before.identity, false));
    assert!(matches!(home.processes.start("server", &launch("exit 0")).await, Err(Error::Running { .. })));
    // Not even the record is needed.
    fs::write(home.file("state.json"), "{\"half\": ").expect("written");
    assert!(matches!(home.processes.state("server"), Err(Error::Record(_))));
    fs::remove_file(home.file("state.json")).expect("removed");
    assert_eq!(home.state().pid, before.pid);
    home.stop().await;
    assert!(!lives(before.pid.expect("a pid")));
    assert_eq!(home.state().phase, Phase::Stopped);
}

#[tokio::test]
async fn a_hung_supervisor_does_not_block() {
    let home = Home::new();
    let pid = home.start("exec sleep 600").await.pid.expect("a pid");
    let supervisor = home.supervisor();
    let stopped = Pid::from_raw(supervisor.cast_signed()).expect("a pid");
    kill_process(stopped, Signal::STOP).expect("stopped");
    home.processes.stop("server", Duration::from_millis(300)).await.expect("stopped");
    assert!(!lives(pid) && !lives(supervisor));
    assert_eq!(home.state().phase, Phase::Stopped);
}

#[tokio::test]
async fn the_environment_is_as_declared() {
    let home = Home::new();
    let secrets = home.folder.path().join("private.env");
    fs::write(&secrets, "# ours\nTOKEN=\"s3 \\\"cret\\\\\"\nPLAIN=\"overridden\"\n").expect("written");
    let launch = Launch {
        environment: [("PLAIN", "x"), ("ODD", "a $b 'c'\n\"d\"")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        environment_file: Some(secrets.clone()),
        ..launch("exec sleep 600")
    };
    home.processes.start("server", &launch).await.expect("started");
    let pid = home.state().pid.expect("a pid");
    assert_eq!(proc::variable(pid, "TOKEN").as_deref(), Some("s3 \"cret\\"));
    assert_eq!(proc::variable(pid, "PLAIN").as_deref(), Some("overridden"));
    assert_eq!(proc::variable(pid, "ODD").as_deref(), Some("a $b 'c'\n\"d\""));
    assert_eq!(proc::variable(pid, "PATH"), std::env::var("PATH").ok());
    // Cargo sets it for this test, and it is none of the server's business.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    for process in [pid, home.supervisor()] {
        assert_eq!(proc::variable(process, "CARGO_PKG_NAME"), None);
        assert!(!proc::command(process).expect("a command").contains("cret"));
    }
    for name in ["launch.json", "state.json", "log"] {
        assert!(!fs::read_to_string(home.file(name)).expect("read").contains("cret"), "{name}");
    }
    home.stop().await;
    fs::write(&secrets, "TOKEN=\"s3cret").expect("written");
    let error = home.processes.start("server", &launch).await.expect_err("a bad file").to_string();
    assert!(error.contains("line 1 of") && !error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_hung_supervisor_times_out_and_is_killed() {
    let home = Home::new();
    let program = home.folder.path().join("silent");
    fs::write(&program, "#!/bin/sh\necho $$ > \"$2/pid\"\nexec sleep 600\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("set");
    let silent = Processes::new(home.folder.path().to_owned(), program);
    let error = silent.start("server", &launch("exit 0")).await.expect_err("no word");
    assert!(matches!(error, Error::Silent(_)), "{error}");
    until_gone(home.number("pid").await).await;
}

#[tokio::test]
async fn a_supervisor_is_small() {
    let home = Home::new();
    home.start("exec sleep 600").await;
    let status = fs::read_to_string(format!("/proc/{}/status", home.supervisor())).expect("a status");
    // What is its own: the pages of the program are shared by all supervisors.
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a size");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 4 << 10, "{kilobytes} kB");
}

/// Returns a record without the seal in its first line.
fn unsealed(record: &str) -> &str {
    record.split_once('\n').expect("a seal").1
}
