//! The failure of a step in words, as a report, a record and a log keep it.

use super::{Hint, Retry};
use crate::resource::ResourceId;

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
    /// True if another attempt makes sense.
    pub retry: Retry,
    /// True if nothing went wrong but that the user stopped it.
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
