//! A unit as the manager reports it.

use super::bus::{ServiceProperties, UnitProperties};
use std::fmt;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A word that this version does not know.
            Other(String),
        }

        impl $name {
            /// Reads systemd's word.
            #[must_use]
            pub fn read(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    word => Self::Other(word.to_owned()),
                }
            }

            /// Returns systemd's word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(super) use words;

words! {
    /// True if the manager could read the unit's file.
    LoadState {
        /// It was read.
        Loaded = "loaded",
        /// There is none.
        NotFound = "not-found",
        /// It has no valid `ExecStart=`, or the like.
        BadSetting = "bad-setting",
        /// It could not be read.
        Error = "error",
        /// It is masked.
        Masked = "masked",
    }
}

words! {
    /// The state of the unit.
    ActiveState {
        /// Its process lives.
        Active = "active",
        /// It reads its configuration again.
        Reloading = "reloading",
        /// It does not run.
        Inactive = "inactive",
        /// It does not run because something went wrong.
        Failed = "failed",
        /// It is about to run, or waits to be started again.
        Activating = "activating",
        /// It is about to stop.
        Deactivating = "deactivating",
    }
}

/// A unit as the manager reports it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// True if its file could be read.
    pub load_state: LoadState,
    /// The reason why its file could not be read.
    pub load_error: Option<String>,
    /// Its state.
    pub active_state: ActiveState,
    /// Its detailed state, such as `running` or `auto-restart`.
    pub sub_state: String,
    /// True if a job for it is queued or under way.
    pub has_job: bool,
    /// The result of its last run: `success`, `exit-code`, `signal`, `oom-kill`, `timeout`, `start-limit-hit`, ...
    pub result: String,
    /// The status text of a `Type=notify` service.
    pub status_text: String,
    /// The address of a socket, such as `127.0.0.1:4000`.
    pub listens: Vec<String>,
    /// The number of restarts by the manager.
    pub restarts: u32,
    /// The process that it runs.
    pub main_pid: Option<u32>,
    /// Names this very start of it, in 32 hexadecimal digits.
    pub invocation_id: Option<String>,
    /// True if its file is newer than what the manager knows. A new drop-in folder does not count.
    pub need_daemon_reload: bool,
    /// The file that defines it.
    pub fragment_path: Option<String>,
    /// The files beside it that the manager has read with it.
    pub drop_ins: Vec<String>,
    /// The command that it starts next, its program first.
    pub command: Vec<String>,
    /// The variables that it sets, as `NAME=value`.
    pub environment: Vec<String>,
    /// True if its conditions held when it was last started; one that was never started says false.
    pub condition_met: bool,
    /// The end of the main process: 1 exited, 2 killed, 3 dumped core, 0 it did not end.
    pub exec_main_code: i32,
    /// Its exit status (203: the program could not be run) or signal.
    pub exec_main_status: i32,
    /// The start time of the main process, in microseconds since 1970; 0 when it never was.
    pub exec_main_start: u64,
    /// The memory limit in force.
    pub memory_max: Option<u64>,
    /// The memory that it takes.
    pub memory_current: Option<u64>,
    /// The processor time in microseconds that it may use in each second.
    pub cpu_quota_per_second: Option<u64>,
}

impl Unit {
    /// Returns whether no process of it runs and none is about to: its name is free for another start.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.active_state, ActiveState::Inactive | ActiveState::Failed) && !self.has_job
    }

    /// Returns whether its process lives, or its first start is under way. One that waits to be started again after a
    /// crash does not run.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.is_idle() && !self.sub_state.starts_with("auto-restart")
    }

    /// Returns whether the first word of its status text is `word`.
    #[must_use]
    pub fn reports(&self, word: &str) -> bool {
        self.status_text.split_whitespace().next() == Some(word)
    }

    pub(super) fn read(unit: UnitProperties, service: ServiceProperties) -> Self {
        // The manager says "none" and "unknown" by the largest number.
        let limit = |value: Option<u64>| value.filter(|value| *value != u64::MAX);
        let text = |value: Option<String>| value.filter(|value| !value.is_empty());
        Self {
            load_state: LoadState::read(&unit.load_state.unwrap_or_default()),
            load_error: text(unit.load_error.map(|(_, message)| message)),
            active_state: ActiveState::read(&unit.active_state.unwrap_or_default()),
            sub_state: unit.sub_state.unwrap_or_default(),
            has_job: unit.job.is_some_and(|(id, _)| id != 0),
            result: service.result.unwrap_or_default(),
            status_text: service.status_text.unwrap_or_default(),
            listens: service.listen.unwrap_or_default().into_iter().map(|(_, address)| address).collect(),
            restarts: service.restarts.unwrap_or_default(),
            main_pid: service.main_pid.filter(|pid| *pid != 0),
            invocation_id: unit.invocation_id.and_then(|id| hexadecimal(&id)),
            need_daemon_reload: unit.need_daemon_reload.unwrap_or_default(),
            fragment_path: text(unit.fragment_path),
            drop_ins: unit.drop_in_paths.unwrap_or_default(),
            command: service.exec_start.and_then(|commands| commands.into_iter().next()).unwrap_or_default().1,
            environment: service.environment.unwrap_or_default(),
            condition_met: unit.condition_result.unwrap_or_default(),
            exec_main_code: service.exec_main_code.unwrap_or_default(),
            exec_main_status: service.exec_main_status.unwrap_or_default(),
            exec_main_start: service.exec_main_start_timestamp.unwrap_or_default(),
            memory_max: limit(service.memory_max),
            memory_current: limit(service.memory_current),
            cpu_quota_per_second: limit(service.cpu_quota),
        }
    }
}

fn hexadecimal(id: &[u8]) -> Option<String> {
    let number = u128::from_be_bytes(id.try_into().ok()?);
    (number != 0).then(|| format!("{number:032x}"))
}
