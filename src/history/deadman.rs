//! What is on record of a generation that is not committed yet: who watches over it, whether it has passed its gate and
//! waits to be confirmed, and whether somebody has confirmed it.
//!
//! ```text
//! generations/<n>/deadman      who goes back if the llamero that applies it dies
//! generations/<n>/deadman.env  the secret part of the watcher's environment
//! generations/<n>/passed      what its outcome is once it is confirmed, and until when that can be
//! generations/<n>/confirmed   who has confirmed it
//! ```

use super::{Error, History, Outcome};
use crate::resource::{ResourceId, Seconds};
use crate::systems::clock::Moment;
use crate::systems::proc::Identity;
use crate::systems::sealed;
use crate::systems::store::Store;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who goes back if the llamero that applies a generation dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watcher {
    /// A transient timer of the systemd user manager, by its name without what follows the dot.
    Timer(String),
    /// A process of llamero itself.
    Process(Identity),
}

/// How a generation is watched over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeadMan {
    /// Who watches; `None` while that is being arranged.
    pub watcher: Option<Watcher>,
    /// Servers that were not healthy before, and need not be after the way back.
    pub preexisting: Vec<ResourceId>,
}

/// A generation that has passed its gate and waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// How it ends once it is confirmed.
    pub outcome: Outcome,
    /// How long it waits.
    pub within: Seconds,
    /// Until when it waits.
    pub until: Moment,
}

/// Who has confirmed a generation, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The user's name.
    pub by: String,
    /// When, with the offset from UTC.
    pub at: String,
}

impl<S: Store> History<S> {
    /// Returns the file that says who watches over a generation. It is touched as long as its apply is at work.
    #[must_use]
    pub fn deadman_file(&self, number: u64) -> PathBuf {
        self.generation(number).join("deadman")
    }

    /// Returns when the file that says who watches over a generation was last written or touched, if it is there.
    pub fn deadman_stamp(&self, number: u64) -> Result<Option<i128>, Error> {
        Ok(self.store.stamp(&self.deadman_file(number))?.map(|(_, changed)| changed))
    }

    /// Returns the file with the secret part of the environment of who watches over a generation.
    #[must_use]
    pub fn deadman_environment(&self, number: u64) -> PathBuf {
        self.generation(number).join("deadman.env")
    }

    /// Returns how a generation is watched over, if it is.
    pub fn watch(&self, number: u64) -> Result<Option<DeadMan>, Error> {
        Ok(sealed::read_from(&self.store, &self.deadman_file(number))?)
    }

    /// Keeps how a generation is watched over.
    pub fn set_deadman(&self, number: u64, watch: &DeadMan) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.deadman_file(number), watch)?)
    }

    /// Returns the generations that somebody watches over.
    pub fn watched(&self) -> Result<Vec<u64>, Error> {
        let mut numbers = self.numbers()?;
        numbers.retain(|number| self.deadman_stamp(*number).is_ok_and(|stamp| stamp.is_some()));
        Ok(numbers)
    }

    /// Removes all that is on record only while a generation is not committed.
    pub fn remove_deadman(&self, number: u64) -> Result<(), Error> {
        for name in ["deadman.env", "passed", "confirmed", "deadman"] {
            self.store.remove(&self.generation(number).join(name))?;
        }
        Ok(())
    }

    /// Returns what a generation that waits to be confirmed comes to, if it does.
    pub fn passed(&self, number: u64) -> Result<Option<Passed>, Error> {
        Ok(sealed::read_from(&self.store, &self.generation(number).join("passed"))?)
    }

    /// Keeps that a generation has passed its gate and waits to be confirmed.
    pub fn set_passed(&self, number: u64, passed: &Passed) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.generation(number).join("passed"), passed)?)
    }

    /// Returns who has confirmed a generation, if anybody has.
    pub fn confirmed(&self, number: u64) -> Result<Option<Confirmed>, Error> {
        Ok(sealed::read_from(&self.store, &self.generation(number).join("confirmed"))?)
    }

    /// Keeps that somebody has confirmed a generation.
    pub fn set_confirmed(&self, number: u64, confirmed: &Confirmed) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.generation(number).join("confirmed"), confirmed)?)
    }

    /// Returns the newest generation that waits to be confirmed.
    pub fn waiting(&self) -> Result<Option<(u64, Passed)>, Error> {
        for number in self.watched()?.into_iter().rev() {
            if self.outcome(number)?.is_none()
                && let Some(passed) = self.passed(number)?
            {
                return Ok(Some((number, passed)));
            }
        }
        Ok(None)
    }
}
