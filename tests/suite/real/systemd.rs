//! The real systemd user manager: quoting read back by a live process, and the unit shapes that a start job misjudges
//! (statement A23).

use crate::clock;
use crate::sample;
use llamero::render::quote;
use llamero::resource::{
    Bytes, Command, Kind, Limits, Origins, Resource, ResourceId, Run, RunFile, Runtime, Seconds, Spec,
};
use llamero::systems::systemd::{ActiveState, Error, JobResult, LoadState, Systemd, Unit, boot};
use llamero::targets::unit;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

fn home() -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).expect("a home folder")
}

async fn manager() -> Systemd {
    Systemd::connect().await.expect("a systemd user manager")
}

/// Writes unit files; the manager must still load them.
fn write(units: &[(&str, &str)]) {
    let folder = home().join(".config/systemd/user");
    fs::create_dir_all(&folder).expect("a folder for units");
    for (name, text) in units {
        fs::write(folder.join(name), text).expect("a unit file");
    }
}

/// Returns what `systemctl` says of whether a unit starts with the manager.
pub(super) fn file_state(unit: &str) -> String {
    let asked = std::process::Command::new("systemctl").args(["--user", "is-enabled", unit]).output().expect("it runs");
    String::from_utf8_lossy(&asked.stdout).trim().to_owned()
}

async fn until(systemd: &Systemd, name: &str, what: &str, holds: impl Fn(&Unit) -> bool) -> Unit {
    let look = async || Some(systemd.unit(name).await.expect("a unit")).filter(|unit| holds(unit));
    clock::found(&format!("{name} is {what}"), look).await
}

fn server(name: &str, argv: &[&str]) -> Resource {
    Resource {
        id: ResourceId::new(Kind::Unit, name),
        role: "services.test".to_owned(),
        spec: Spec::Run(Box::new(Run {
            description: "100% \"quoted\" \\".to_owned(),
            stop_timeout: Seconds::new(5),
            ..sample::run(Runtime::Systemd, argv)
        })),
        needs: [].into(),
        origins: Origins::default(),
    }
}

fn edit(resource: &mut Resource) -> &mut Run {
    let Spec::Run(run) = &mut resource.spec else { unreachable!("a server") };
    run
}

/// Returns texts that are hard to quote, the same ones at every run.
fn texts(count: usize) -> Vec<String> {
    let mut texts: Vec<String> =
        ["", " ", ";", "\\", "\"", "'", "$HOME", "${HOME}", "$$", "%h", "%%", "a\\", "#", "\n", "-", "~", "{}", "\r\n"]
            .map(str::to_owned)
            .to_vec();
    let strategy = "([ -~]|[\\x01-\\x1f\\x7f]|[\"'\\\\$%`;#]|[é→😀\u{85}\u{2028}\u{feff}]){1,16}";
    let strategy = proptest::string::string_regex(strategy).expect("a pattern");
    let mut runner = TestRunner::deterministic();
    while texts.len() < count {
        texts.push(strategy.new_tree(&mut runner).expect("a text").current());
    }
    texts
}

async fn appears(path: &Path) -> Vec<String> {
    clock::until_async(&path.display().to_string(), async || path.exists()).await;
    let text = String::from_utf8(fs::read(path).expect("a file")).expect("text");
    text.strip_suffix('\0').expect("a NUL at the end").split('\0').map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs a systemd user manager"]
async fn a_live_process_reads_back_quoted_text() {
    let systemd = manager().await;
    let folder = home().join("quote 100% $x");
    fs::create_dir_all(&folder).expect("a folder");
    let program = folder.join("s h");
    fs::copy("/bin/sh", &program).expect("a shell");
    let script = "cat /proc/$$/environ >\"$0.e\"; cat /proc/$$/cmdline >\"$0.a\"; mv \"$0.e\" \"$0.env\"; mv \"$0.a\" \"$0.arg\"";

    for (batch, texts) in texts(240).chunks(80).enumerate() {
        let name = format!("quote-{batch}");
        let out = folder.join(&name);
        let mut resource = server(&name, &[&program.display().to_string(), "-c", script, &out.display().to_string()]);
        let named =
            |prefix: char| texts.iter().enumerate().map(move |(n, text)| (format!("{prefix}{n}"), text.clone()));
        let file = folder.join(format!("{name}.secret"));
        let lines = named('F').map(|(name, value)| quote::environment_line(&name, &value).expect("expressible") + "\n");
        fs::write(&file, lines.collect::<String>()).expect("an environment file");
        let run = edit(&mut resource);
        run.command.0.extend(Command::words(texts.iter().cloned()).0);
        run.environment = named('E').collect();
        run.environment_file = Some(RunFile(file));
        run.working_directory = Some(folder.clone());
        let argv = run.command.argv();

        let text = unit::unit("quote", &resource).expect("expressible");
        write(&[(&unit::unit_name(&resource.id), &text)]);
        systemd.reload().await.expect("a reload");
        let job = systemd.start(&unit::unit_name(&resource.id), LONG).await.expect("a job");
        assert_eq!(job.result, JobResult::Done);

        assert_eq!(appears(&out.with_extension("arg")).await, argv);
        let environment = appears(&out.with_extension("env")).await;
        let declared = named('E').chain(named('F')).map(|(name, value)| format!("{name}={value}"));
        for assignment in declared {
            assert!(environment.contains(&assignment), "{assignment:?} is not in {environment:#?}");
        }
        let fingerprint = format!("{}={}", llamero::render::marker::FINGERPRINT_VARIABLE, resource.fingerprint());
        assert!(environment.contains(&fingerprint));
        assert!(environment.contains(&format!("{}=quote/unit/{name}", llamero::render::marker::RESOURCE_VARIABLE)));
    }
}

#[tokio::test]
#[ignore = "needs a systemd user manager"]
async fn a_rendered_server_lives_its_whole_life() {
    let systemd = manager().await;
    let mut resource = server("life", &["/bin/sh", "-c", "echo hello from life; exec sleep 1000"]);
    edit(&mut resource).limits = Limits { memory: Some(Bytes(64 << 20)), cpu_percent: Some(150) };
    let name = unit::unit_name(&resource.id);
    let missing = systemd.unit(&name).await.expect("an answer");
    assert_eq!((&missing.load_state, &missing.active_state), (&LoadState::NotFound, &ActiveState::Inactive));
    assert!(matches!(systemd.start(&name, LONG).await, Err(Error::NoSuchUnit { .. })));

    write(&[(&name, &unit::unit("life", &resource).expect("expressible"))]);
    systemd.reload().await.expect("a reload");
    let units = home().join(".config/systemd/user");
    boot::enable(&units, &name).expect("enabled");
    assert_eq!((file_state(&name).as_str(), boot::is_enabled(&units, &name)), ("enabled", true));
    assert_eq!(systemd.start(&name, LONG).await.expect("a job").result, JobResult::Done);
    let first = systemd.unit(&name).await.expect("a unit");
    assert_eq!((&first.load_state, &first.active_state), (&LoadState::Loaded, &ActiveState::Active));
    assert_eq!((first.sub_state.as_str(), first.restarts), ("running", 0));
    assert_eq!((first.memory_max, first.cpu_quota_per_second), (Some(64 << 20), Some(1_500_000)));
    assert!(first.main_pid.is_some() && first.invocation_id.as_ref().is_some_and(|id| id.len() == 32));
    assert!(!first.need_daemon_reload && first.condition_met);

    // To start what runs changes nothing; to restart it does.
    assert_eq!(systemd.start(&name, LONG).await.expect("a job").result, JobResult::Done);
    assert_eq!(systemd.unit(&name).await.expect("a unit").invocation_id, first.invocation_id);
    assert_eq!(systemd.restart(&name, LONG).await.expect("a job").result, JobResult::Done);
    let second = systemd.unit(&name).await.expect("a unit");
    assert!(second.invocation_id.is_some() && second.invocation_id != first.invocation_id);

    let look = async || Some(systemd.last_lines(&name, 5).await).filter(|lines| !lines.is_empty());
    let lines = clock::found("the journal has its line", look).await;
    assert!(lines.iter().any(|line| line == "hello from life"), "{lines:?}");

    assert_eq!(systemd.stop(&name, LONG).await.expect("a job").result, JobResult::Done);
    // Another target starts it as well.
    let other = std::process::Command::new("systemctl").args(["--user", "add-wants", "timers.target", &name]).status();
    assert!(other.expect("it runs").success() && units.join("timers.target.wants").join(&name).is_symlink());
    boot::disable(&units, &name).expect("disabled");
    assert_eq!((file_state(&name).as_str(), boot::is_enabled(&units, &name)), ("disabled", false));
    assert!(!units.join("timers.target.wants").exists());
    let stopped = systemd.unit(&name).await.expect("a unit");
    assert_eq!((&stopped.active_state, stopped.need_daemon_reload), (&ActiveState::Inactive, false));
}

/// What llamero writes has no limit of starts, whoever asks for them: the manager counts its own restarts alike.
#[tokio::test]
#[ignore = "needs a systemd user manager"]
async fn a_unit_that_llamero_writes_has_no_start_limit() {
    let systemd = manager().await;
    let text = unit::unit("lane", &server("unlimited", &["/bin/sleep", "1000"])).expect("a unit");
    write(&[("unlimited.service", &text)]);
    systemd.reload().await.expect("a reload");
    for start in 1..=12 {
        let restart = std::process::Command::new("systemctl").args(["--user", "restart", "unlimited"]).status();
        assert!(restart.expect("systemctl").success(), "start {start} is refused");
    }
    assert_eq!(systemd.stop("unlimited.service", LONG).await.expect("a job").result, JobResult::Done);
}

#[tokio::test]
#[ignore = "needs a systemd user manager"]
#[expect(clippy::print_stderr, reason = "the split of a coin flip is worth seeing")]
async fn a23_shapes_that_a_start_job_misjudges() {
    let systemd = manager().await;
    write(&[
        ("b1.service", "[Service]\nType=simple\nExecStart=/bin/sh -c 'exit 3'\n"),
        ("b2.service", "[Service]\nType=simple\nExecStart=/nowhere/program\n"),
        ("b3.service", "[Service]\nType=exec\nExecStart=/bin/sh -c 'exit 3'\n"),
        (
            "b4.service",
            "[Service]\nType=notify\nTimeoutStartSec=2\nRestart=always\nRestartSec=30\nExecStart=/bin/sleep 1000\n",
        ),
        ("b5.service", "[Service]\nType=exec\nRestart=always\nRestartSec=100ms\nExecStart=/bin/sleep 1\n"),
        ("b6.service", "[Unit]\nConditionPathExists=/nowhere\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"),
        ("b7.service", "[Service]\nType=exec\nMemoryMaxx=1G\nExecStart=/bin/sleep 1000\n"),
        ("b8.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"),
        ("bad.service", "[Service]\nExecStart=sleep-relative/x 1\n"),
    ]);
    systemd.reload().await.expect("a reload");
    let start = async |name: &str| systemd.start(name, LONG).await.expect("a job").result;

    assert_eq!(start("b1.service").await, JobResult::Done, "done is said of what died at once");
    let unit = until(&systemd, "b1.service", "failed", |unit| unit.active_state == ActiveState::Failed).await;
    assert_eq!((unit.result.as_str(), unit.exec_main_code, unit.exec_main_status), ("exit-code", 1, 3));

    assert_eq!(start("b2.service").await, JobResult::Done);
    let unit = until(&systemd, "b2.service", "failed", |unit| unit.active_state == ActiveState::Failed).await;
    assert_eq!((unit.result.as_str(), unit.exec_main_status), ("exit-code", 203));

    let mut ends = BTreeMap::<String, u32>::new();
    for _ in 0..20 {
        *ends.entry(start("b3.service").await.to_string()).or_default() += 1;
        let unit = until(&systemd, "b3.service", "failed", |unit| unit.active_state == ActiveState::Failed).await;
        assert_eq!(unit.exec_main_status, 3);
    }
    assert!(ends.keys().all(|end| ["done", "failed"].contains(&end.as_str())), "{ends:?}");
    eprintln!("Type=exec that exits at once, 20 starts: {ends:?}");

    assert_eq!(start("b4.service").await, JobResult::Failed);
    let unit = systemd.unit("b4.service").await.expect("a unit");
    assert_eq!((&unit.active_state, unit.sub_state.as_str()), (&ActiveState::Activating, "auto-restart"));
    assert_eq!(unit.result, "timeout");

    assert_eq!(start("b5.service").await, JobResult::Done);
    let first = systemd.unit("b5.service").await.expect("a unit");
    let later =
        until(&systemd, "b5.service", "running again", |unit| unit.restarts > 1 && unit.sub_state == "running").await;
    assert_eq!((&later.active_state, later.result.as_str()), (&ActiveState::Active, "success"));
    assert_ne!(later.invocation_id, first.invocation_id);

    assert_eq!(start("b6.service").await, JobResult::Done);
    let unit = systemd.unit("b6.service").await.expect("a unit");
    assert_eq!((&unit.active_state, unit.condition_met, unit.main_pid), (&ActiveState::Inactive, false, None));

    assert_eq!(start("b7.service").await, JobResult::Done);
    let unit = systemd.unit("b7.service").await.expect("a unit");
    assert_eq!((&unit.active_state, unit.memory_max), (&ActiveState::Active, None), "the limit is not in force");

    assert_eq!(start("b8.service").await, JobResult::Done);
    assert!(!systemd.unit("b8.service").await.expect("a unit").need_daemon_reload);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    write(&[("b8.service", "[Service]\nType=exec\nExecStart=/bin/sleep 2000\n")]);
    assert_eq!(systemd.restart("b8.service", LONG).await.expect("a job").result, JobResult::Done);
    let unit = systemd.unit("b8.service").await.expect("a unit");
    assert!(unit.need_daemon_reload, "the old command runs");
    let command =
        fs::read_to_string(format!("/proc/{}/cmdline", unit.main_pid.expect("a process"))).expect("a command");
    assert_eq!(command, "/bin/sleep\x001000\0");

    let unit = systemd.unit("bad.service").await.expect("a unit");
    assert_eq!(unit.load_state, LoadState::BadSetting);
    assert!(unit.load_error.is_some());
    assert!(matches!(systemd.start("bad.service", LONG).await, Err(Error::BadSetting { .. })));

    for name in ["b4.service", "b5.service", "b7.service", "b8.service"] {
        assert_eq!(systemd.stop(name, LONG).await.expect("a job").result, JobResult::Done, "{name}");
    }
}

#[tokio::test]
#[ignore = "needs a systemd user manager"]
async fn a_unit_that_reached_its_start_limit_starts_again() {
    let systemd = manager().await;
    let text = "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=2\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\n";
    write(&[("limit.service", text)]);
    systemd.reload().await.expect("a reload");
    for _ in 0..5 {
        assert_eq!(systemd.restart("limit.service", LONG).await.expect("a job").result, JobResult::Done);
    }
    assert_eq!(systemd.unit("limit.service").await.expect("a unit").active_state, ActiveState::Active);
    assert_eq!(systemd.stop("limit.service", LONG).await.expect("a job").result, JobResult::Done);
}

#[tokio::test]
#[ignore = "needs a systemd user manager"]
#[expect(clippy::print_stderr, reason = "a time is measured, not asserted")]
async fn fifty_units_are_seen_at_once() {
    let systemd = manager().await;
    let names: Vec<String> = (0..50).map(|n| format!("many-{n}.service")).collect();
    let text = "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n";
    write(&names.iter().map(|name| (name.as_str(), text)).collect::<Vec<_>>());
    systemd.reload().await.expect("a reload");
    for unloaded_first in [true, false, false] {
        let begin = Instant::now();
        let units = systemd.units(&names).await;
        eprintln!("50 units in {:?} (first time: {unloaded_first})", begin.elapsed());
        assert_eq!(units.len(), 50);
        assert!(units.values().all(|unit| unit.as_ref().is_ok_and(|unit| unit.load_state == LoadState::Loaded)));
    }
    let starts = futures_util::future::join_all(names.iter().map(|name| systemd.start(name, LONG))).await;
    assert!(starts.iter().all(|job| job.as_ref().is_ok_and(|job| job.result == JobResult::Done && job.announced)));
    let begin = Instant::now();
    let units = systemd.units(&names).await;
    eprintln!("50 running units in {:?}", begin.elapsed());
    assert!(units.values().all(|unit| unit.as_ref().is_ok_and(|unit| unit.main_pid.is_some())));
    let stops = futures_util::future::join_all(names.iter().map(|name| systemd.stop(name, LONG))).await;
    assert!(stops.iter().all(|job| job.as_ref().is_ok_and(|job| job.result == JobResult::Done)), "{stops:?}");
}
