//! llamero's own supervisor, driven.

mod observe;

use super::{Call, Driver, Findings, Inquiry, Scope};
use crate::live::{Part, Presence};
use crate::plan::Action;
use crate::resource::{Kind, ResourceId};
use crate::systems::{Failure, Hint, Systems, files, unseen};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use llamero_core::targets::process::lower::launch;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest wait for a server to stop: its supervisor knows how long it may take.
const STOP: Duration = Duration::from_secs(330);

/// llamero's supervisor.
#[derive(Debug)]
pub(super) struct Process;

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
        execute(call).boxed()
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

async fn execute(call: Call<'_>) -> Result<(), Failure> {
    let processes = &call.scope.systems.processes;
    let (id, result) = match &call.step.action {
        Action::Start(id) => {
            let launch = launch(call.scope.stack, call.resource()?).ok_or_else(|| call.unexpected())?;
            (id, processes.start(&id.name, &launch).await)
        }
        Action::Stop(managed) => (managed.id(), processes.stop(&managed.id().name, STOP).await),
        Action::RemoveServer(managed) => (managed.id(), processes.forget(&managed.id().name)),
        _ => return Err(call.unexpected()),
    };
    result.map_err(|error| Failure::of(Some(id), &error as &dyn Hint))
}
