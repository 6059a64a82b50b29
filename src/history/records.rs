//! The records of one stack: the lock, and the generations with their revisions and outcomes.

use super::error::Error;
use super::generation::{Ending, Generation, Outcome, Revision};
use super::holder::LockHolder;
use super::stack_lock::{self, StackLock};
use crate::live::Remnant;
use crate::pace::{FailureRecord, Suspension};
use crate::resource::{Resource, ResourceId};
use crate::systems::sealed;
use crate::systems::store::{Disk, Store};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of committed generations kept ready for a rollback without the network.
pub(super) const KEPT: usize = 3;

/// The number of generations kept on record.
const LISTED: usize = 100;

/// The records of one stack.
#[derive(Debug, Clone)]
pub struct History<S = Disk> {
    pub(super) folder: PathBuf,
    pub(super) store: S,
}

impl History {
    /// Returns the records in `folder`, which need not exist yet.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self::within(Disk, folder)
    }
}

impl<S: Store> History<S> {
    /// Returns the records in `folder` of a store.
    #[must_use]
    pub const fn within(store: S, folder: PathBuf) -> Self {
        Self { folder, store }
    }

    /// Returns the store that they are in.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Returns the folder of the records.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the stack lock, or returns its holder. The kernel releases it when this process ends, however it ends.
    pub fn lock(&self, command: &str) -> Result<StackLock<S>, Error> {
        stack_lock::take(&self.store, &self.folder.join("lock"), command)
    }

    /// Returns the process that changes the stack right now.
    #[must_use]
    pub fn occupant(&self) -> Option<LockHolder> {
        stack_lock::occupant(&self.store, &self.folder.join("lock"))
    }

    /// Returns the numbers of all generations, oldest first.
    pub fn numbers(&self) -> Result<Vec<u64>, Error> {
        let names = self.store.names(&self.folder.join("generations"))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads one generation.
    pub fn load(&self, number: u64) -> Result<Generation, Error> {
        let revision = self.revision(number)?.ok_or(Error::NoGeneration(number))?;
        let outcome = self.shared_outcome(number)?;
        Ok(Generation { number, revision, outcome })
    }

    /// Reads every generation that has been begun, oldest first.
    pub fn all(&self) -> Result<Vec<Generation>, Error> {
        let mut generations = Vec::new();
        for number in self.numbers()? {
            match self.load(number) {
                // The folder is created before its revision is written: a crash in between leaves an empty
                // generation.
                Err(Error::NoGeneration(_)) => {}
                other => generations.push(other?),
            }
        }
        Ok(generations)
    }

    /// Returns what is wrong with the records, apart from those of servers.
    pub fn damage(&self) -> Result<Vec<sealed::Error>, Error> {
        let mut damage = Vec::new();
        let own = |name| self.folder.join(name);
        damage.extend(sealed::read_from::<Vec<FailureRecord>>(&self.store, &own("quarantine")).err());
        damage.extend(sealed::read_from::<Suspension>(&self.store, &own("suspended")).err());
        for number in self.numbers()? {
            let folder = self.generation(number);
            damage.extend(sealed::read_from::<Revision>(&self.store, &folder.join("desired")).err());
            damage.extend(sealed::read_from::<Outcome>(&self.store, &folder.join("outcome")).err());
            damage.extend(sealed::read_from::<Vec<Resource>>(&self.store, &folder.join("recovered")).err());
        }
        Ok(damage)
    }

    /// Returns the last generation whose revision was damaged and renamed, if there is one.
    pub fn last_lost(&self) -> Result<Option<u64>, Error> {
        for number in self.numbers()?.into_iter().rev() {
            let names = self.store.names(&self.generation(number))?;
            if names.iter().any(|name| name.starts_with("desired.damaged"))
                && !names.iter().any(|name| name == "desired")
            {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Records resources recovered from a lost revision, in addition to those recovered before.
    pub fn keep_found(&self, number: u64, resources: Vec<Resource>) -> Result<PathBuf, Error> {
        let path = self.generation(number).join("recovered");
        let mut live = self.live(number)?;
        live.extend(resources);
        sealed::write_to(&self.store, &path, &live)?;
        Ok(path)
    }

    /// Returns the resources recovered from a lost revision.
    pub(super) fn live(&self, number: u64) -> Result<Vec<Resource>, Error> {
        Ok(sealed::read_from(&self.store, &self.generation(number).join("recovered"))?.unwrap_or_default())
    }

    /// Returns the number of the committed generation: the last with a committed outcome and a revision.
    pub fn current(&self) -> Result<Option<u64>, Error> {
        for number in self.numbers()?.into_iter().rev() {
            if self.is_committed(number)? && self.store.stamp(&self.generation(number).join("desired"))?.is_some() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Returns the last generation that touched the machine, if it left it between two states: it was interrupted, or
    /// neither it nor its rollback succeeded.
    pub fn unsettled(&self) -> Result<Option<u64>, Error> {
        for number in self.numbers()?.into_iter().rev() {
            match self.shared_outcome(number)?.map(|outcome| (outcome.ending, outcome.touched)) {
                Some((Ending::Committed | Ending::RolledBack, _)) => return Ok(None),
                Some((Ending::Stuck, _) | (Ending::Interrupted, true)) => return Ok(Some(number)),
                Some((Ending::Interrupted, false) | (Ending::Abandoned | Ending::Rehearsed, _)) => {}
                None if self.store.stamp(&self.generation(number).join("desired"))?.is_some() => {
                    return Ok(Some(number));
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// Returns how a generation ended; `None` while it is being applied, or after a crash.
    pub fn outcome(&self, number: u64) -> Result<Option<Outcome>, Error> {
        Ok(self.shared_outcome(number)?.map(Arc::unwrap_or_clone))
    }

    pub(super) fn shared_outcome(&self, number: u64) -> Result<Option<Arc<Outcome>>, Error> {
        Ok(sealed::shared_from(&self.store, &self.generation(number).join("outcome"))?)
    }

    /// Returns whether the outcome of a generation is on record and says that it is committed.
    fn is_committed(&self, number: u64) -> Result<bool, Error> {
        Ok(self.shared_outcome(number)?.is_some_and(|outcome| outcome.ending == Ending::Committed))
    }

    /// Returns the committed generation.
    pub fn committed(&self) -> Result<Option<Generation>, Error> {
        self.current()?.map(|number| self.load(number)).transpose()
    }

    /// Returns the orphans of the last generation: resources of earlier generations that it did not declare.
    pub fn last_orphans(&self) -> Result<Vec<ResourceId>, Error> {
        let Some(last) = self.numbers()?.last().copied() else { return Ok(Vec::new()) };
        let revision = self.revision(last)?;
        Ok(revision.iter().flat_map(|revision| &revision.orphans).map(|resource| resource.id.clone()).collect())
    }

    /// Returns the revision of a generation, if it has one.
    pub(super) fn revision(&self, number: u64) -> Result<Option<Arc<Revision>>, Error> {
        Ok(sealed::shared_from(&self.store, &self.generation(number).join("desired"))?)
    }

    /// Begins a generation: from here on what it may create is on record.
    pub fn begin(&self, revision: &Revision) -> Result<u64, Error> {
        let number = self.numbers()?.last().map_or(1, |last| last + 1);
        self.rewrite(number, revision)?;
        Ok(number)
    }

    /// Rewrites the revision of an uncommitted generation, with facts that became known during the apply.
    pub fn rewrite(&self, number: u64, revision: &Revision) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.generation(number).join("desired"), revision)?)
    }

    /// Records the outcome of a generation.
    pub fn end(&self, number: u64, outcome: &Outcome) -> Result<(), Error> {
        Ok(sealed::write_to(&self.store, &self.generation(number).join("outcome"), outcome)?)
    }

    /// Withdraws an outcome that could not be recorded completely: it may exist all the same, as when only its folder
    /// could not be synced.
    pub fn withdraw(&self, number: u64) -> Result<(), Error> {
        let path = self.generation(number).join("outcome");
        let removed = self.store.remove(&path);
        match self.store.stamp(&path) {
            // A removal lost in a power cut leaves a committed generation.
            Ok(None) => Ok(()),
            _ => Ok(removed.map(drop)?),
        }
    }

    /// Returns the records of the stack that are there, apart from the lock.
    pub fn remnants(&self) -> Result<Vec<Remnant>, Error> {
        let names: BTreeSet<String> = self.store.names(&self.folder)?.into_iter().collect();
        let there = |name: &str| names.contains(name).then(|| self.folder.join(name));
        let generations = self.numbers()?.len();
        let records = [
            there("quarantine").map(|path| Remnant::FailureRecords { path }),
            there("suspended").map(|path| Remnant::Suspension { path }),
            there("deadman.log").map(|path| Remnant::SwitchLog { path }),
            there("generations").map(|path| Remnant::History { path, generations }),
        ];
        Ok(records.into_iter().flatten().collect())
    }

    /// Removes the records of generations that are too old to be of use, oldest first.
    pub fn trim(&self) -> Result<(), Error> {
        let numbers = self.numbers()?;
        let mut good = 0;
        for (age, number) in numbers.iter().rev().enumerate() {
            let committed = self.is_committed(*number)?;
            good += usize::from(committed);
            if age >= LISTED && !(committed && good <= KEPT) {
                self.store.remove_folder(&self.generation(*number))?;
            }
        }
        Ok(())
    }

    /// Returns the folder of a generation.
    pub(super) fn generation(&self, number: u64) -> PathBuf {
        self.folder.join("generations").join(number.to_string())
    }
}
