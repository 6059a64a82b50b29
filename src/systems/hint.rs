//! The advice that belongs to an error: what its user can do, and how its caller reacts.

use super::{FailureKind, Retry};

/// The advice that belongs to an error.
pub trait Hint: std::error::Error {
    /// Returns one sentence without a full stop, if there is advice to give.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns whether the operation was only interrupted.
    fn interrupted(&self) -> bool {
        false
    }

    /// Returns when a retry makes sense.
    fn retry(&self) -> Retry {
        Retry::of_causes(self)
    }

    /// Returns the kind of the failure, where it ends a request.
    fn kind(&self) -> FailureKind {
        FailureKind::Error
    }
}
