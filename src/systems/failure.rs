//! Failures: their kinds, which decide the exit code and what a program that calls the library does, and a failed step in
//! words, as a report, a record and a log keep it.

use super::{Hint, Retry};
use crate::resource::ResourceId;

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
    /// Nobody agreed to the plan.
    Declined,
    /// Something that llamero does not manage stands where a resource belongs.
    NotManaged,
    /// It can never fit into its memory budget.
    OverBudget,
    /// It was interrupted; running it again continues.
    Interrupted,
}

/// The failure of one step.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The resource, if it is one resource's.
    pub on: Option<ResourceId>,
    /// The error, with its causes.
    pub why: String,
    /// Advice.
    pub hint: Option<String>,
    /// The last lines that the server wrote.
    pub log: Vec<String>,
    /// Whether another attempt makes sense.
    pub retry: Retry,
    /// Whether nothing went wrong but that the user stopped it.
    pub interrupted: bool,
}

impl Failure {
    /// Returns a failure of a resource.
    #[must_use]
    pub fn new(on: &ResourceId, why: impl Into<String>) -> Self {
        let (hint, log) = (None, Vec::new());
        Self { on: Some(on.clone()), why: why.into(), hint, log, retry: Retry::Never, interrupted: false }
    }

    /// Returns a failure that is no single resource's.
    #[must_use]
    pub fn of_all(why: impl Into<String>, retry: Retry) -> Self {
        Self { on: None, why: why.into(), hint: None, log: Vec::new(), retry, interrupted: false }
    }

    /// Returns what an error means for a resource, or for none.
    #[must_use]
    pub fn of(on: Option<&ResourceId>, error: &dyn Hint) -> Self {
        let (retry, interrupted) = (error.retry(), error.interrupted());
        Self { on: on.cloned(), why: with_causes(error), hint: error.hint(), log: Vec::new(), retry, interrupted }
    }
}

/// Returns an error in one line with its causes.
#[must_use]
pub fn with_causes<E: std::error::Error + ?Sized>(error: &E) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
