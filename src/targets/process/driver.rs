//! The verbs of llamero's own supervisor.

use super::super::driver::{Call, Driver, Findings, Inquiry, Scope};
use super::{execute, observe};
use crate::live::{Part, Presence};
use crate::resource::{Kind, ResourceId};
use crate::systems::{Failure, Systems, files, unseen};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};

/// llamero's supervisor.
#[derive(Debug)]
pub(in crate::targets) struct Process;

impl Driver for Process {
    fn kind(&self) -> Kind {
        Kind::Process
    }

    fn system(&self) -> &'static str {
        "llamero's supervisor"
    }

    fn observe<'a>(&'a self, scope: Scope<'a>, inquiry: Inquiry<'a>) -> BoxFuture<'a, Findings> {
        async move {
            let mut servers = inquiry.servers;
            let mut unlisted = BTreeSet::new();
            match scope.systems.processes.list() {
                Ok(recorded) => servers.extend(recorded.into_iter().map(|name| ResourceId::new(Kind::Process, name))),
                Err(error) => drop(unlisted.insert((Part::Servers(Kind::Process), unseen(&error)))),
            }
            let resources = observe::inspect(scope.systems, servers.iter().collect());
            Findings { resources, unseen: unlisted, ..Findings::default() }
        }
        .boxed()
    }

    fn inspect<'a>(
        &'a self,
        scope: Scope<'a>,
        servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Presence>> {
        async move { observe::inspect(scope.systems, servers) }.boxed()
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        execute::execute(call).boxed()
    }

    fn last_lines<'a>(&'a self, scope: Scope<'a>, id: &'a ResourceId, count: usize) -> BoxFuture<'a, Vec<String>> {
        async move { scope.systems.processes.last_lines(&id.name, count) }.boxed()
    }

    fn log_size(&self, systems: &Systems, id: &ResourceId) -> u64 {
        files::stamp(&systems.processes.log(&id.name)).ok().flatten().map_or(0, |(size, _)| size.0)
    }

    fn log_command(&self, systems: &Systems, id: &ResourceId) -> String {
        format!("less {}", systems.processes.log(&id.name).display())
    }
}
