//! The exit codes: part of what other programs may rely on.

/// How the command line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done, or nothing differs.
    Done = 0,
    /// An error; nothing was changed.
    Error = 1,
    /// There are changes, drift, or something unhealthy.
    Changes = 2,
    /// It failed and went back; the machine is on the last good generation and healthy.
    RolledBack = 3,
    /// A person is needed.
    Stuck = 4,
    /// Another llamero is at work.
    Locked = 5,
    /// The saved plan is out of date.
    Stale = 6,
    /// A policy refuses it.
    Refused = 7,
    /// It was interrupted; running it again goes on.
    Interrupted = 8,
    /// A wait ran out.
    TimedOut = 9,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
