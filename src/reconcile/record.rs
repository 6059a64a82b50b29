//! Records about a stack apart from a pass, and the summary of a pass.

use super::{Error, Finished, LoadedManifest, Stack};
use crate::history::Ending;
use crate::pace::{self, Suspension};
use crate::systems::{FailureKind, Retry, clock};

impl Stack {
    /// Refuses every apply until it is resumed, and returns the suspension that this one replaces.
    pub fn suspend(&self, by: String, reason: Option<String>) -> Result<Option<Suspension>, Error> {
        let earlier = self.history.hold()?;
        self.history.set_hold(Some(&Suspension { by, since: clock::now(), reason }))?;
        Ok(earlier)
    }

    /// Lets the stack be changed again, and returns whether it was suspended.
    pub fn resume(&self) -> Result<bool, Error> {
        // An unreadable record is removed as well: it shows only that the stack is suspended.
        let suspended = !matches!(self.history.hold(), Ok(None));
        self.history.set_hold(None)?;
        Ok(suspended)
    }

    /// Clears a manifest's failure record; returns whether there was one.
    pub fn clear_failures(&self, loaded: &LoadedManifest) -> Result<bool, Error> {
        let mut failed = self.history.quarantine()?;
        let before = failed.len();
        pace::forget(&mut failed, &loaded.attempt());
        if failed.len() == before {
            return Ok(false);
        }
        self.history.set_quarantine(&failed)?;
        Ok(true)
    }
}

impl Finished {
    /// Returns the kind of failure that the pass came to; `None` where it did what it was to do.
    #[must_use]
    pub fn failure(&self) -> Option<FailureKind> {
        match self.outcome.ending {
            Ending::Committed if self.interrupted => Some(FailureKind::Interrupted),
            Ending::Committed if !self.later_failures.is_empty() => Some(FailureKind::NotPruned),
            Ending::Committed | Ending::Rehearsed => {
                (!self.outcome.unhealthy_before.is_empty()).then_some(FailureKind::Unhealthy)
            }
            Ending::Abandoned if self.failures.iter().all(|failure| failure.retry == Retry::Soon) => {
                Some(FailureKind::Transient)
            }
            Ending::Abandoned => Some(FailureKind::Staging),
            Ending::RolledBack => Some(FailureKind::RolledBack),
            Ending::Interrupted => Some(FailureKind::Interrupted),
            Ending::Stuck => Some(FailureKind::Stuck),
        }
    }
}
