//! What the manager says of one unit.

use std::collections::HashMap;
use zbus::{OwnedObjectPath, OwnedVariant};

/// Whether the manager has a unit's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadState {
    /// It was read.
    Loaded,
    /// There is none.
    NotFound,
    /// It cannot be used as it is: `bad-setting`, `error`, `masked`.
    Unusable(String),
}

/// What a unit is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveState {
    /// It is up.
    Active,
    /// It is about to be.
    Activating,
    /// It is about to go.
    Deactivating,
    /// It is not up.
    Inactive,
    /// It is not up and ended badly.
    Failed,
}

/// What the manager says of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Whether its file was read.
    pub load: LoadState,
    /// Why its file cannot be used.
    pub load_error: String,
    /// What it is doing.
    pub active: ActiveState,
    /// The same in more detail, such as `running` or `auto-restart`.
    pub sub: String,
    /// How it last ended, such as `success`, `exit-code` or `oom-kill`.
    pub result: String,
    /// How often the manager started it again.
    pub restarts: u32,
    /// Its process; 0 when there is none.
    pub main_pid: u32,
    /// Names this very start of it; empty when it never started.
    pub invocation: String,
    /// Whether its file changed since the manager read it.
    pub needs_reload: bool,
    /// The file that was read.
    pub fragment: String,
    /// Whether it starts with the machine: `enabled`, `disabled`, `static`, …
    pub file_state: String,
    /// How its process ended (`si_code` of waitid(2)): 1 exited, 2 killed, 3 dumped.
    pub exit_code: i32,
    /// Its exit status, or the signal that ended it.
    pub exit_status: i32,
    /// The memory limit in force, in bytes; `u64::MAX` is none.
    pub memory_max: u64,
    /// The memory that it takes, in bytes; `u64::MAX` is unknown.
    pub memory_current: u64,
    /// The number of the job that is queued for it; 0 when there is none.
    pub job: u32,
}

impl Unit {
    /// Returns how its process last ended, in words; `None` when it did not.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        if self.load_error.is_empty() && self.exit_code == 0 {
            return (self.result != "success").then(|| self.result.clone());
        }
        if !self.load_error.is_empty() {
            return Some(self.load_error.clone());
        }
        Some(match (self.result.as_str(), self.exit_code, self.exit_status) {
            ("oom-kill", ..) => "it ran out of memory and was killed".to_owned(),
            ("start-limit-hit", ..) => "it ended too often".to_owned(),
            ("timeout", ..) => "it took too long to start or to stop".to_owned(),
            // systemd.exec(5), process exit codes.
            (_, 1, 203) => "its program cannot be run (status 203)".to_owned(),
            (_, 1, 200) => "its working directory is missing (status 200)".to_owned(),
            (_, 1, status) => format!("exit code {status}"),
            (_, _, signal) => format!("killed by signal {signal}"),
        })
    }
}

/// Reads the properties of the interfaces `Unit` and `Service`.
pub(super) fn read(unit: &HashMap<String, OwnedVariant>, service: &HashMap<String, OwnedVariant>) -> Unit {
    let load = match text(unit, "LoadState").as_str() {
        "loaded" => LoadState::Loaded,
        "not-found" => LoadState::NotFound,
        other => LoadState::Unusable(other.to_owned()),
    };
    let active = match text(unit, "ActiveState").as_str() {
        "active" | "reloading" | "refreshing" => ActiveState::Active,
        "activating" => ActiveState::Activating,
        "deactivating" => ActiveState::Deactivating,
        "failed" => ActiveState::Failed,
        _ => ActiveState::Inactive,
    };
    let invocation: Vec<u8> = value(unit, "InvocationID").unwrap_or_default();
    let load_error: (String, String) = value(unit, "LoadError").unwrap_or_default();
    let job: Option<(u32, OwnedObjectPath)> = value(unit, "Job");
    Unit {
        load,
        load_error: load_error.1,
        active,
        sub: text(unit, "SubState"),
        result: text(service, "Result"),
        restarts: value(service, "NRestarts").unwrap_or_default(),
        main_pid: value(service, "MainPID").unwrap_or_default(),
        invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
        needs_reload: value(unit, "NeedDaemonReload").unwrap_or_default(),
        fragment: text(unit, "FragmentPath"),
        file_state: text(unit, "UnitFileState"),
        exit_code: value(service, "ExecMainCode").unwrap_or_default(),
        exit_status: value(service, "ExecMainStatus").unwrap_or_default(),
        memory_max: value(service, "MemoryMax").unwrap_or(u64::MAX),
        memory_current: value(service, "MemoryCurrent").unwrap_or(u64::MAX),
        job: job.map_or(0, |job| job.0),
    }
}

fn text(properties: &HashMap<String, OwnedVariant>, name: &str) -> String {
    value(properties, name).unwrap_or_default()
}

fn value<T: TryFrom<OwnedVariant>>(properties: &HashMap<String, OwnedVariant>, name: &str) -> Option<T> {
    properties.get(name)?.try_clone().ok()?.try_into().ok()
}
