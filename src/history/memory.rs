//! The facts of earlier generations that a plan needs.

use super::error::Error;
use super::generation::{Ending, Outcome, Revision};
use super::records::{History, KEPT};
use crate::plan::Past;
use crate::resolve::Desired;
use crate::resource::{Digest, Resource, ResourceId, Spec};
use crate::systems::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of generations whose start times are read.
const RECENT: usize = 8;

/// Facts from earlier generations.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// For the planner.
    pub past: Past,
    /// Every resource that any generation may have created, with its path: a superset of what exists.
    pub inventory: Vec<Resource>,
}

impl<S: Store> History<S> {
    /// Collects the facts of earlier generations for the planner.
    ///
    /// However long the history is, only the last generation and those that a rollback can reach are read: each
    /// revision carries the orphans of its predecessors.
    pub fn memory(&self) -> Result<Memory, Error> {
        let current = self.current()?;
        let mut facts = Facts::default();
        for (age, number) in self.numbers()?.into_iter().rev().enumerate() {
            let outcome = self.shared_outcome(number)?;
            if age < RECENT {
                facts.learn_start_times(outcome.as_deref());
            }
            facts.define(&self.live(number)?);
            let committed = outcome.as_ref().is_some_and(|outcome| outcome.ending == Ending::Committed);
            let is_good = committed && facts.good < KEPT;
            // The last one with a revision carries the orphans of its predecessors.
            if facts.read && !is_good && Some(number) != current {
                facts.unread = facts.unread.or((facts.good == 1).then_some(number));
                continue;
            }
            let Some(revision) = self.revision(number)? else { continue };
            let none = BTreeMap::new();
            let contents = outcome.as_ref().map_or(&none, |outcome| &outcome.contents);
            if is_good && !facts.is_repeated(&revision.desired, contents) {
                facts.good += 1;
                facts.newer = Some((Arc::clone(&revision), contents.clone()));
            } else if is_good && let Some(number) = facts.unread.take() {
                // The plan between them removed nothing, so what failed before it has not expired yet.
                let revision = self.revision(number)?;
                facts.failed = revision.map(|revision| needed(&revision.desired, &BTreeMap::new())).unwrap_or_default();
            }
            facts.keep(&revision.desired, contents, is_good);
            if Some(number) == current {
                facts.commit(&revision.desired, contents);
            }
            facts.define(revision.desired.resources.values().chain(&revision.orphans));
            if facts.good == KEPT && current.is_none_or(|current| number <= current) && age >= RECENT {
                break;
            }
        }
        Ok(facts.memory())
    }
}

/// The facts collected so far, from the newest generation back.
#[derive(Default)]
struct Facts {
    past: Past,
    inventory: BTreeMap<ResourceId, Resource>,
    /// The number of different committed states.
    good: usize,
    /// True if a revision was read.
    read: bool,
    /// The last committed state, and the contents of its models.
    newer: Option<(Arc<Revision>, BTreeMap<ResourceId, Digest>)>,
    /// Resources that only an uncommitted generation requested.
    failed: BTreeSet<ResourceId>,
    /// The newest generation before the committed one, if it was not read.
    unread: Option<u64>,
}

impl Facts {
    fn learn_start_times(&mut self, outcome: Option<&Outcome>) {
        for (id, time) in outcome.into_iter().flat_map(|outcome| &outcome.start_times) {
            self.past.start_times.entry(id.clone()).or_insert(*time);
        }
    }

    /// Adds resources to the inventory. The newest definition of a resource wins.
    fn define<'a>(&mut self, resources: impl IntoIterator<Item = &'a Resource>) {
        for resource in resources {
            if !self.inventory.contains_key(&resource.id) {
                self.inventory.insert(resource.id.clone(), resource.clone());
            }
        }
    }

    /// Returns whether a state differs from the next only by its policy and the like, so that it is not a further one
    /// to roll back to.
    fn is_repeated(&self, desired: &Desired, contents: &BTreeMap<ResourceId, Digest>) -> bool {
        self.newer.as_ref().is_some_and(|(newer, newer_contents)| {
            let (one, other) = (&desired.resources, &newer.desired.resources);
            let same = |id: &ResourceId, resource: &Resource| {
                other.get(id).is_some_and(|other| resource == other || resource.fields() == other.fields())
            };
            contents == newer_contents && one.len() == other.len() && one.iter().all(|(id, it)| same(id, it))
        })
    }

    /// Keeps what a rollback to a generation needs.
    ///
    /// Resources of the last one are kept too, good or not: it may be on its way. Once another is committed, what only
    /// a failed one asked for expires.
    fn keep(&mut self, desired: &Desired, contents: &BTreeMap<ResourceId, Digest>, is_good: bool) {
        let is_last = !std::mem::replace(&mut self.read, true);
        if is_good {
            let new = needed(desired, contents).into_iter().filter(|id| !self.past.keep.contains(id));
            let new: Vec<ResourceId> = new.collect();
            self.past.oldest = if self.good == KEPT { new.iter().cloned().collect() } else { BTreeSet::new() };
            self.past.keep.extend(new);
        } else if is_last {
            self.failed = needed(desired, contents);
        }
    }

    /// Learns the state of the committed generation.
    fn commit(&mut self, desired: &Desired, contents: &BTreeMap<ResourceId, Digest>) {
        let resources = desired.resources.values();
        self.past.committed = resources.map(|resource| (resource.id.clone(), resource.fields())).collect();
        self.past.contents.clone_from(contents);
        self.past.previous = desired.routes();
    }

    fn memory(self) -> Memory {
        let Self { mut past, inventory, failed, .. } = self;
        past.oldest.extend(failed.difference(&past.keep).cloned());
        past.keep.extend(failed);
        let inventory: Vec<Resource> = inventory.into_values().collect();
        past.learn(&inventory);
        Memory { past, inventory }
    }
}

/// Returns the resources that a rollback to a generation needs without the network.
fn needed(desired: &Desired, contents: &BTreeMap<ResourceId, Digest>) -> BTreeSet<ResourceId> {
    let stays = |id: &&ResourceId| id.kind.lasts();
    let mut needed: BTreeSet<ResourceId> = desired.resources.keys().filter(stays).cloned().collect();
    for resource in desired.resources.values() {
        let Spec::Model(model) = &resource.spec else { continue };
        let content = model.sha256.as_ref().or_else(|| contents.get(&resource.id));
        needed.extend(content.map(|content| model.kept(&desired.stack, content).0));
    }
    needed
}
