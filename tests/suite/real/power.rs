//! What starts with the machine is on disk before an apply ends.

use super::home::Home;
use std::fs;
use std::process::Command;

#[test]
#[ignore = "needs a systemd user manager, redis-server and strace"]
fn enabled_units_start_after_a_power_cut() {
    let home = Home::new();
    home.write(
        "llamero.yaml",
        "version: 1\nstack: synced\npolicy: {health: {timeout: 30s, stable_for: 0s}}\nservices:\n  \
         cache: {runtime: systemd, command: [redis-server, --port, '18597', --save, '', --bind, 127.0.0.1], ports: ['18597']}\n",
    );
    let trace = home.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-b", "execve", "-e", "trace=fsync", "-o"]).arg(&trace);
    let apply = home.command(&["apply", "--yes"]);
    strace.arg(apply.get_program()).args(apply.get_args()).current_dir(home.path(""));
    let output = strace.output().expect("strace runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = fs::read_to_string(trace).expect("a trace");
    let units = home.under_home(".config/systemd/user");
    let wants = units.join("default.target.wants");
    assert!(wants.join("synced-cache.service").is_symlink());
    let synced = |folder: &std::path::Path| format!("<{}>) ", folder.display());
    // After the unit's file, the folder itself is there for good before the link in it is.
    let before = trace.rsplit_once(&synced(&wants)).map(|(before, _)| before);
    assert!(before.is_some_and(|before| before.matches(&synced(&units)).count() >= 2), "{trace}");
    home.expect(0, &["down", "--purge", "--yes"]);
}
