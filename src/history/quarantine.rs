//! What a stack remembers across generations: which manifests failed, and that somebody holds it as it is.

use super::{Error, History};
use crate::pace::{FailureRecord, Suspension};
use crate::systems::sealed;
use crate::systems::store::Store;

impl<S: Store> History<S> {
    /// Returns what failed and has not succeeded since.
    pub fn quarantine(&self) -> Result<Vec<FailureRecord>, Error> {
        Ok(sealed::read_from(&self.store, &self.folder.join("quarantine"))?.unwrap_or_default())
    }

    /// Keeps what failed.
    pub fn set_quarantine(&self, bad: &[FailureRecord]) -> Result<(), Error> {
        let path = self.folder.join("quarantine");
        if bad.is_empty() {
            Ok(self.store.remove(&path).map(drop)?)
        } else {
            Ok(sealed::write_to(&self.store, &path, &bad)?)
        }
    }

    /// Returns who holds the stack as it is, if anybody does.
    pub fn hold(&self) -> Result<Option<Suspension>, Error> {
        Ok(sealed::read_from(&self.store, &self.folder.join("suspended"))?)
    }

    /// Keeps that somebody holds the stack as it is, or that nobody does.
    pub fn set_hold(&self, hold: Option<&Suspension>) -> Result<(), Error> {
        let path = self.folder.join("suspended");
        match hold {
            Some(hold) => Ok(sealed::write_to(&self.store, &path, hold)?),
            None => Ok(self.store.remove(&path).map(drop)?),
        }
    }
}
