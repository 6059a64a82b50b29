//! The exit codes: part of what other programs may rely on.

use crate::systems::FailureKind;

/// The exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done, or nothing differs.
    Done = 0,
    /// An error; no running server was changed.
    Error = 1,
    /// There are changes, drift, or something unhealthy, or something is left to remove.
    Changes = 2,
    /// The change failed and was rolled back to the last committed generation.
    RolledBack = 3,
    /// The rollback failed; manual intervention is required.
    Stuck = 4,
    /// Another process holds the stack lock.
    Locked = 5,
    /// The saved plan is out of date.
    Stale = 6,
    /// A policy refuses it.
    Refused = 7,
    /// It was interrupted; running it again continues.
    Interrupted = 8,
    /// A wait ran out, or something failed that may pass; retry.
    Transient = 9,
}

impl Exit {
    /// Returns the exit code of a failure.
    #[must_use]
    pub const fn of(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Error
            | FailureKind::InvalidManifest
            | FailureKind::NotCovered
            | FailureKind::Blocked
            | FailureKind::Staging => Self::Error,
            FailureKind::NotPruned | FailureKind::Unhealthy => Self::Changes,
            FailureKind::RolledBack => Self::RolledBack,
            FailureKind::Stuck => Self::Stuck,
            FailureKind::Locked => Self::Locked,
            FailureKind::Stale => Self::Stale,
            FailureKind::Suspended
            | FailureKind::PrunesMost
            | FailureKind::Policy
            | FailureKind::Declined
            | FailureKind::NotManaged
            | FailureKind::OverBudget => Self::Refused,
            FailureKind::Interrupted => Self::Interrupted,
            FailureKind::Transient => Self::Transient,
        }
    }

    /// Returns the exit code of a verb that compares: whether anything differs.
    #[must_use]
    pub const fn differs(differs: bool) -> Self {
        if differs { Self::Changes } else { Self::Done }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
