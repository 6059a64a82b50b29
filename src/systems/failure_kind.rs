//! The kinds of failures, which decide the exit code and what a program that calls the library does.

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// An input is missing or cannot be used, or a call on the machine failed. No running server was changed.
    Error,
    /// The manifest has errors.
    InvalidManifest,
    /// The lock file does not cover the manifest, and it was required to.
    NotCovered,
    /// The machine is in a state in which the plan cannot be applied: a port is taken, or something cannot be observed.
    Blocked,
    /// Staging failed for good: downloads and environments may be there, and no running server was changed.
    Staging,
    /// A wait ran out, or staging failed for a reason that may pass. No running server was changed.
    Transient,
    /// The change is committed, and not everything that it replaces could be removed.
    NotPruned,
    /// The change is committed, and something that was unhealthy before still is.
    Unhealthy,
    /// The change failed, and the last committed generation runs again.
    RolledBack,
    /// The change failed, and so did the rollback, or the policy forbids one.
    Stuck,
    /// Another process holds the stack lock.
    Locked,
    /// The saved plan no longer leads from what is live to what is declared.
    Stale,
    /// The stack is suspended.
    Suspended,
    /// The plan removes more than half of what is managed.
    PrunesMost,
    /// The request asks for what cannot be undone, or for nothing that can be done, under this policy.
    Policy,
    /// The plan was not confirmed.
    Declined,
    /// Something that llamero does not manage stands where a resource belongs.
    NotManaged,
    /// It can never fit into its memory budget.
    OverBudget,
    /// It was interrupted; running it again continues.
    Interrupted,
}
