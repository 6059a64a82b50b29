//! Records across generations: failed manifests, and the suspension of the stack.

use super::error::Error;
use super::records::History;
use crate::pace::{FailureRecord, Suspension};
use crate::systems::sealed;
use crate::systems::store::Store;

impl<S: Store> History<S> {
    /// Returns what failed and has not succeeded since.
    pub fn quarantine(&self) -> Result<Vec<FailureRecord>, Error> {
        Ok(sealed::read_from(&self.store, &self.folder.join("quarantine"))?.unwrap_or_default())
    }

    /// Writes the failure records.
    pub fn set_quarantine(&self, bad: &[FailureRecord]) -> Result<(), Error> {
        let path = self.folder.join("quarantine");
        if bad.is_empty() {
            Ok(self.store.remove(&path).map(drop)?)
        } else {
            Ok(sealed::write_to(&self.store, &path, &bad)?)
        }
    }

    /// Returns the suspension of the stack, if there is one.
    pub fn hold(&self) -> Result<Option<Suspension>, Error> {
        Ok(sealed::read_from(&self.store, &self.folder.join("suspended"))?)
    }

    /// Writes or removes the suspension of the stack.
    pub fn set_hold(&self, hold: Option<&Suspension>) -> Result<(), Error> {
        let path = self.folder.join("suspended");
        match hold {
            Some(hold) => Ok(sealed::write_to(&self.store, &path, hold)?),
            None => Ok(self.store.remove(&path).map(drop)?),
        }
    }
}
