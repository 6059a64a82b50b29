//! Why a unit ended, as far as the manager knows.

use crate::systems::systemd::Unit;

/// Returns how a unit's process last ended, in words; `None` when it did not.
pub(super) fn why(unit: &Unit) -> Option<String> {
    if let Some(error) = &unit.load_error {
        return Some(error.clone());
    }
    Some(match (unit.result.as_str(), unit.exec_main_code, unit.exec_main_status) {
        ("oom-kill", ..) => "it ran out of memory and was killed".to_owned(),
        ("start-limit-hit", ..) => "it ended too often".to_owned(),
        ("timeout", ..) => "it took too long to start or to stop".to_owned(),
        ("success", 0, _) => return None,
        (result, 0, _) => result.to_owned(),
        // systemd.exec(5), process exit codes.
        (_, 1, 203) => "its program cannot be run (status 203)".to_owned(),
        (_, 1, 200) => "its working directory is missing (status 200)".to_owned(),
        (_, 1, status) => format!("exit code {status}"),
        (_, _, signal) => format!("killed by signal {signal}"),
    })
}
