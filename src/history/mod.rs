//! The records of one stack on disk: the stack lock, the generations, and which of them is committed.
//!
//! ```text
//! $XDG_STATE_HOME/llamero/<stack>/
//!   lock                      the process that changes the stack right now
//!   generations/<n>/desired   the revision; written once, before anything changes
//!   generations/<n>/outcome   the outcome; missing while it is being applied, or after a crash
//!   generations/<n>/recovered resources recovered from a damaged revision
//!   generations/<n>/deadman   its dead-man's switch while it is applied, and related records
//!   quarantine                the failure records of manifests
//!   suspended                 the suspension of the stack
//!   processes/<name>/         the process runtime's records
//! ```
//!
//! Every file is sealed with its digest and written atomically. A damaged one is an error that names it, and is never
//! treated as absent. This module makes no decisions about a generation.

mod deadman;
mod generation;
mod quarantine;
mod stack_lock;

pub use deadman::{Confirmed, DeadMan, Passed, Watcher};
pub use generation::{Ending, Generation, Outcome, RecordedChange, Revision, StepOutcome, StepResult};
pub use stack_lock::{LockHolder, StackLock};

use crate::pace::{FailureRecord, Suspension};
use crate::plan::Past;
use crate::resolve::Desired;
use crate::resource::{Digest, Resource, ResourceId, Spec};
use crate::systems::store::{Disk, Store};
use crate::systems::{FailureKind, Hint, files, sealed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The number of committed generations kept ready for a rollback without the network.
const KEPT: usize = 3;

/// The number of generations whose start times are read.
const RECENT: usize = 8;

/// The number of generations kept on record.
const LISTED: usize = 100;

/// Facts from earlier generations.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// For the planner.
    pub past: Past,
    /// Every resource that any generation may have created, with its path: a superset of what exists.
    pub inventory: Vec<Resource>,
}

/// A failure of the records on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A record is damaged, or of a later llamero.
    #[error(transparent)]
    Record(#[from] sealed::Error),
    /// Another llamero is changing the stack.
    #[error("another llamero is changing this stack: {0}")]
    Occupied(LockHolder),
    /// There is no such generation.
    #[error("there is no generation {0}")]
    NoGeneration(u64),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Occupied(_) => Some("wait until it is done; the lock goes with its process".to_owned()),
            Self::NoGeneration(_) => Some("`llamero history` lists them".to_owned()),
        }
    }

    fn kind(&self) -> FailureKind {
        if matches!(self, Self::Occupied(_)) { FailureKind::Locked } else { FailureKind::Error }
    }
}

/// The records of one stack.
#[derive(Debug, Clone)]
pub struct History<S = Disk> {
    folder: PathBuf,
    store: S,
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

    /// Returns the folder of the records.
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
        let folder = self.generation(number);
        let revision = sealed::read_from(&self.store, &folder.join("desired"))?.ok_or(Error::NoGeneration(number))?;
        let outcome = sealed::read_from(&self.store, &folder.join("outcome"))?;
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

    fn live(&self, number: u64) -> Result<Vec<Resource>, Error> {
        Ok(sealed::read_from(&self.store, &self.generation(number).join("recovered"))?.unwrap_or_default())
    }

    /// Returns the number of the committed generation: the last with a committed outcome and a revision.
    pub fn current(&self) -> Result<Option<u64>, Error> {
        for number in self.numbers()?.into_iter().rev() {
            let committed = self.outcome(number)?.is_some_and(|outcome| outcome.ending == Ending::Committed);
            if committed && self.store.stamp(&self.generation(number).join("desired"))?.is_some() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Returns how a generation ended; `None` while it is being applied, or after a crash.
    pub fn outcome(&self, number: u64) -> Result<Option<Outcome>, Error> {
        Ok(sealed::read_from(&self.store, &self.generation(number).join("outcome"))?)
    }

    /// Returns the committed generation.
    pub fn committed(&self) -> Result<Option<Generation>, Error> {
        self.current()?.map(|number| self.load(number)).transpose()
    }

    /// Returns the orphans of the last generation: resources of earlier generations that it did not declare.
    pub fn last_orphans(&self) -> Result<Vec<ResourceId>, Error> {
        let Some(last) = self.numbers()?.last().copied() else { return Ok(Vec::new()) };
        let revision = sealed::read_from::<Revision>(&self.store, &self.generation(last).join("desired"))?;
        Ok(revision.into_iter().flat_map(|revision| revision.orphans).map(|resource| resource.id).collect())
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

    /// Removes every record of the stack but the lock, once none of its resources remain.
    pub fn forget(&self) -> Result<(), Error> {
        for name in ["quarantine", "suspended", "deadman.log"] {
            self.store.remove(&self.folder.join(name))?;
        }
        self.store.remove_folder(&self.folder.join("generations"))?;
        Ok(())
    }

    /// Collects the facts of earlier generations for the planner.
    ///
    /// However long the history is, only the last generation and those that a rollback can reach are read: each
    /// revision carries the orphans of its predecessors.
    pub fn memory(&self) -> Result<Memory, Error> {
        let current = self.current()?;
        let numbers = self.numbers()?;
        let mut past = Past::default();
        let mut inventory: BTreeMap<ResourceId, Resource> = BTreeMap::new();
        let (mut good, mut read, mut failed, mut newer) = (0, false, BTreeSet::new(), None);
        let mut unread = None;
        for (age, number) in numbers.iter().rev().enumerate() {
            let outcome = self.outcome(*number)?;
            if age < RECENT {
                let times = outcome.iter().flat_map(|outcome| &outcome.start_times);
                for (id, time) in times {
                    past.start_times.entry(id.clone()).or_insert(*time);
                }
            }
            for resource in self.live(*number)? {
                inventory.entry(resource.id.clone()).or_insert(resource);
            }
            let committed = outcome.as_ref().is_some_and(|outcome| outcome.ending == Ending::Committed);
            let is_good = committed && good < KEPT;
            // The last one with a revision carries the orphans of its predecessors.
            if read && !is_good && Some(*number) != current {
                unread = unread.or((good == 1).then_some(*number));
                continue;
            }
            let Some(revision) = sealed::read_from::<Revision>(&self.store, &self.generation(*number).join("desired"))?
            else {
                continue;
            };
            let contents = outcome.map(|outcome| outcome.contents).unwrap_or_default();
            // What the last one asked for is kept too, good or not: it may be on its way. Once another is committed,
            // what only a failed one asked for expires.
            let unfinished = !read && !is_good;
            read = true;
            // One that differs from the next only by its policy is not a further one to roll back to.
            let state = (&revision.desired.resources, &contents);
            let same = newer.as_ref().is_some_and(|(resources, contents)| state == (resources, contents));
            good += usize::from(is_good && !same);
            if same
                && is_good
                && let Some(number) = unread.take()
            {
                // The plan between them removed nothing, so what failed before it has not expired yet.
                let file = self.generation(number).join("desired");
                let revision = sealed::read_from::<Revision>(&self.store, &file)?;
                failed = revision.map(|revision| needed(&revision.desired, &BTreeMap::new())).unwrap_or_default();
            }
            if is_good && !same {
                newer = Some((revision.desired.resources.clone(), contents.clone()));
            }
            if unfinished {
                failed = needed(&revision.desired, &contents);
            } else if is_good {
                let new = needed(&revision.desired, &contents).into_iter().filter(|id| !past.keep.contains(id));
                let new: Vec<ResourceId> = new.collect();
                past.oldest = if good == KEPT { new.iter().cloned().collect() } else { BTreeSet::new() };
                past.keep.extend(new);
            }
            if Some(*number) == current {
                let resources = revision.desired.resources.values();
                past.committed = resources.map(|resource| (resource.id.clone(), resource.fields())).collect();
                past.contents = contents;
                past.previous = revision.desired.routes();
            }
            // The newest definition of a resource wins.
            for resource in revision.desired.resources.into_values().chain(revision.orphans) {
                inventory.entry(resource.id.clone()).or_insert(resource);
            }
            if good == KEPT && current.is_none_or(|current| *number <= current) && age >= RECENT {
                break;
            }
        }
        past.oldest.retain(|id| !failed.contains(id));
        past.oldest.extend(failed.difference(&past.keep).cloned());
        past.keep.extend(failed);
        let inventory: Vec<Resource> = inventory.into_values().collect();
        past.learn(&inventory);
        Ok(Memory { past, inventory })
    }

    /// Removes the records of generations that are too old to be of use, oldest first.
    pub fn trim(&self) -> Result<(), Error> {
        let numbers = self.numbers()?;
        let mut good = 0;
        for (age, number) in numbers.iter().rev().enumerate() {
            let committed = self.outcome(*number)?.is_some_and(|outcome| outcome.ending == Ending::Committed);
            good += usize::from(committed);
            if age >= LISTED && !(committed && good <= KEPT) {
                self.store.remove_folder(&self.generation(*number))?;
            }
        }
        Ok(())
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.folder.join("generations").join(number.to_string())
    }
}

/// Returns the resources that a rollback to a generation needs without the network.
fn needed(desired: &Desired, contents: &BTreeMap<ResourceId, Digest>) -> BTreeSet<ResourceId> {
    let permanent = |id: &&ResourceId| id.kind.lasts();
    let mut needed: BTreeSet<ResourceId> = desired.resources.keys().filter(permanent).cloned().collect();
    for resource in desired.resources.values() {
        let Spec::Model(model) = &resource.spec else { continue };
        let content = model.sha256.as_ref().or_else(|| contents.get(&resource.id));
        needed.extend(content.map(|content| model.kept(&desired.stack, content).0));
    }
    needed
}
