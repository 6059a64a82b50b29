//! The verbs of a target, and their values.

use crate::live::{Instances, Part, Presence, Unseen};
use crate::plan::Step;
use crate::resource::{Kind, Prerequisite, Resource, ResourceId, Seconds};
use crate::systems::{Failure, Retry, Systems};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Whose servers are observed, and by which way.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The outside world.
    pub systems: &'a Systems,
    /// The stack's name.
    pub stack: &'a str,
}

/// The questions of one observation to a target.
#[derive(Debug, Clone)]
pub struct Inquiry<'a> {
    /// The servers that are known otherwise.
    pub servers: BTreeSet<ResourceId>,
    /// The resources that are no servers and are observed through the target, such as images.
    pub others: Vec<&'a Resource>,
    /// The prerequisites of declared servers.
    pub needed: BTreeSet<Prerequisite>,
}

/// The answers of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// The resources, whether present or not.
    pub resources: BTreeMap<ResourceId, Presence>,
    /// The servers that there are instances of, beside those that hand their socket off.
    pub with_instances: BTreeSet<ResourceId>,
    /// The parts beside single resources that could not be inspected.
    pub unseen: BTreeSet<(Part, Unseen)>,
    /// The prerequisites that exist.
    pub prerequisites: BTreeSet<Prerequisite>,
    /// The networks that carry the stack's ownership marker.
    pub networks: BTreeSet<String>,
    /// True if all its servers end when the user logs out, where that is known.
    pub ends_at_logout: Option<bool>,
}

impl Findings {
    /// Returns the answers of a target that gave none.
    pub(crate) fn unseen(kind: Kind, inquiry: Inquiry<'_>, unseen: &Unseen) -> Self {
        let others = inquiry.others.into_iter().map(|resource| resource.id.clone());
        let resources = inquiry.servers.into_iter().chain(others).map(|id| (id, Presence::Unknown(unseen.clone())));
        let needed = inquiry.needed.into_iter().map(|what| Part::Prerequisite(kind, what));
        let parts = [Part::Servers(kind), Part::Networks(kind)].into_iter().chain(needed);
        let unseen = parts.map(|part| (part, unseen.clone())).collect();
        Self { resources: resources.collect(), unseen, ..Self::default() }
    }
}

/// Progress of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far.
    pub done: Option<u64>,
    /// All bytes, where that is known.
    pub total: Option<u64>,
    /// The target's message.
    pub note: Option<String>,
}

/// One call, as a step of a plan names it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Whose call it is.
    pub scope: Scope<'a>,
    /// The step.
    pub step: &'a Step,
    /// The resource that it is about, as declared.
    pub declared: Option<&'a Resource>,
    /// Takes progress.
    pub report: &'a (dyn Fn(Progress) + Send + Sync),
    /// Ends the call early.
    pub cancel: &'a CancellationToken,
}

impl<'a> Call<'a> {
    /// Returns the declared resource.
    pub(super) fn resource(&self) -> Result<&'a Resource, Failure> {
        self.declared.ok_or_else(|| self.unexpected())
    }

    /// Returns a failure for a step that is no call on the target.
    pub(super) fn unexpected(&self) -> Failure {
        let why = format!("internal error: the target of `{}` has no such call", self.step.action);
        Failure { on: self.step.action.on().cloned(), ..Failure::of_all(why, Retry::Never) }
    }

    /// Returns a value that the step carries.
    pub(super) fn required<T>(&self, value: Option<&'a T>) -> Result<&'a T, Failure> {
        value.ok_or_else(|| {
            let why = format!("internal error: the step `{}` lacks a value", self.step.action);
            Failure { on: self.step.action.on().cloned(), ..Failure::of_all(why, Retry::Never) }
        })
    }

    /// Returns how long a server may take to stop.
    pub(super) fn stop_timeout(&self) -> Duration {
        self.step.arguments.stop_timeout.map_or(Duration::ZERO, Seconds::duration)
    }
}

/// A target, as it is driven.
pub trait Driver: Sync {
    /// Returns the kind of its servers.
    fn kind(&self) -> Kind;

    /// Returns the name of the outside system that it asks, for messages.
    fn system(&self) -> &'static str;

    /// Observes the servers inquired about, its other servers that carry the stack's ownership marker, and what it
    /// keeps for them. The system is connected to once, and what it does not report is unknown.
    fn observe<'a>(&'a self, scope: Scope<'a>, inquiry: Inquiry<'a>) -> BoxFuture<'a, Findings>;

    /// Inspects servers by their names, managed or not.
    fn inspect<'a>(
        &'a self,
        scope: Scope<'a>,
        servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Presence>>;

    /// Returns whether all its servers end when the user logs out, where that is known.
    fn ends_at_logout<'a>(&'a self, _systems: &'a Systems) -> BoxFuture<'a, Option<bool>> {
        async { None }.boxed()
    }

    /// Inspects the instances of servers that hand their socket off, or are to; an error says why one cannot be
    /// inspected.
    fn instances<'a>(
        &'a self,
        _scope: Scope<'a>,
        _servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Result<Instances, Unseen>>> {
        async { BTreeMap::new() }.boxed()
    }

    /// Makes one call.
    fn execute<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), Failure>>;

    /// Returns the last lines that a server wrote.
    fn last_lines<'a>(&'a self, scope: Scope<'a>, id: &'a ResourceId, count: usize) -> BoxFuture<'a, Vec<String>>;

    /// Returns the size of what a server wrote, in bytes, where that is cheap to find out.
    fn log_size(&self, _systems: &Systems, _id: &ResourceId) -> u64 {
        0
    }

    /// Returns a command with which a user sees what a server wrote.
    fn log_command(&self, systems: &Systems, id: &ResourceId) -> String;

    /// Returns the text of a server's definition as it is now, where it is one.
    fn definition(&self, _systems: &Systems, _id: &ResourceId) -> Option<String> {
        None
    }

    /// Returns the server that a process belongs to, where the machine shows it.
    fn owner_of(&self, _pid: u32) -> Option<ResourceId> {
        None
    }
}
