//! Records about an uncommitted generation: its dead-man's switch, whether it has passed its gate and waits for
//! confirmation, and whether it was confirmed.
//!
//! ```text
//! generations/<n>/deadman      the switch that rolls it back if its apply dies
//! generations/<n>/deadman.env  the secret part of the switch's environment
//! generations/<n>/passed      the outcome once it is confirmed, and the deadline for that
//! generations/<n>/confirmed   the confirmation
//! ```

use super::error::Error;
use super::generation::Outcome;
use super::records::History;
use crate::resource::{ResourceId, Seconds};
use crate::systems::clock::Moment;
use crate::systems::proc::Identity;
use crate::systems::sealed;
use crate::systems::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The switch that rolls a generation back if its apply dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// A transient timer of the systemd user manager, by its name without what follows the dot.
    Timer(String),
    /// A process of llamero itself.
    Process(Identity),
}

/// The dead-man's switch of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeadMan {
    /// The switch; `None` while it is being armed.
    pub carrier: Option<Carrier>,
    /// The servers before anything was touched.
    pub before: Before,
}

/// The servers of a stack before an apply touched anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Before {
    /// Those that were unhealthy: they do not count against the change, and need not be healthy after a rollback.
    pub preexisting: BTreeSet<ResourceId>,
    /// The start of each that was up, as [`LiveRun::identity`](crate::live::LiveRun::identity) names it.
    pub starts: BTreeMap<ResourceId, String>,
}

/// A generation that has passed its gate and waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The outcome once it is confirmed.
    pub outcome: Outcome,
    /// The time to confirm.
    pub within: Seconds,
    /// Until when it waits.
    pub until: Moment,
}

/// The confirmation of a generation, with its author and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The user's name.
    pub by: String,
    /// When, with the offset from UTC.
    pub at: String,
}

impl<S: Store> History<S> {
    /// Returns the file of the dead-man's switch of a generation. It is touched while its apply runs.
    #[must_use]
    pub fn deadman_file(&self, number: u64) -> PathBuf {
        self.generation(number).join("deadman")
    }

    /// Returns the time at which the file of a dead-man's switch was last written or touched, if it exists.
    pub fn deadman_stamp(&self, number: u64) -> Result<Option<i128>, Error> {
        Ok(self.store.stamp(&self.deadman_file(number))?.map(|(_, changed)| changed))
    }

    /// Returns the file with the secret part of the switch's environment.
    #[must_use]
    pub fn deadman_environment(&self, number: u64) -> PathBuf {
        self.generation(number).join("deadman.env")
    }

    /// Returns the dead-man's switch of a generation, if one is armed.
    pub fn watch(&self, number: u64) -> Result<Option<DeadMan>, Error> {
        Ok(sealed::read_from(&self.store, &self.deadman_file(number))?)
    }

    /// Records the dead-man's switch of a generation.
    pub fn set_deadman(&self, number: u64, watch: &DeadMan) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.deadman_file(number), watch)?)
    }

    /// Returns the generations with a dead-man's switch.
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

    /// Records that a generation has passed its gate and waits for confirmation.
    pub fn set_passed(&self, number: u64, passed: &Passed) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.generation(number).join("passed"), passed)?)
    }

    /// Records that a generation is not to be confirmed any more.
    pub fn withdraw_passed(&self, number: u64) -> Result<(), Error> {
        self.store.remove(&self.generation(number).join("passed"))?;
        Ok(())
    }

    /// Returns the confirmation of a generation, if there is one.
    pub fn confirmed(&self, number: u64) -> Result<Option<Confirmed>, Error> {
        Ok(sealed::read_from(&self.store, &self.generation(number).join("confirmed"))?)
    }

    /// Records the confirmation of a generation.
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
