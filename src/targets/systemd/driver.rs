//! The verbs of the systemd user manager.

use super::super::driver::{Call, Driver, Findings, Inquiry, Scope};
use super::{execute, instances, observe};
use crate::live::{Instances, Part, Presence, Unseen};
use crate::resource::{Kind, ResourceId};
use crate::systems::{Failure, Systems, files, proc, unseen};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};

/// The systemd user manager.
#[derive(Debug)]
pub(in crate::targets) struct Systemd;

impl Driver for Systemd {
    fn kind(&self) -> Kind {
        Kind::Unit
    }

    fn system(&self) -> &'static str {
        "the systemd user manager"
    }

    fn observe<'a>(&'a self, scope: Scope<'a>, inquiry: Inquiry<'a>) -> BoxFuture<'a, Findings> {
        async move {
            let mut servers = inquiry.servers;
            let (with_instances, failed) = match observe::list(scope, &mut servers) {
                Ok(with_instances) => (with_instances, None),
                Err(error) => (BTreeSet::new(), Some((Part::Servers(self.kind()), unseen(&error)))),
            };
            let unseen = failed.into_iter().collect();
            if servers.is_empty() {
                return Findings { unseen, ..Findings::default() };
            }
            let (resources, ends_at_logout) =
                tokio::join!(observe::inspect(scope, servers.iter().collect()), self.ends_at_logout(scope.systems));
            Findings { resources, with_instances, unseen, ends_at_logout, ..Findings::default() }
        }
        .boxed()
    }

    fn inspect<'a>(
        &'a self,
        scope: Scope<'a>,
        servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Presence>> {
        observe::inspect(scope, servers).boxed()
    }

    fn ends_at_logout<'a>(&'a self, systems: &'a Systems) -> BoxFuture<'a, Option<bool>> {
        async { systems.lingers().await.map(|lingers| !lingers) }.boxed()
    }

    fn instances<'a>(
        &'a self,
        scope: Scope<'a>,
        servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Result<Instances, Unseen>>> {
        observe::instances(scope, servers).boxed()
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        execute::execute(call).boxed()
    }

    fn last_lines<'a>(&'a self, scope: Scope<'a>, id: &'a ResourceId, count: usize) -> BoxFuture<'a, Vec<String>> {
        async move {
            let name = instances::running_unit(scope.systems, id);
            match scope.systems.systemd().await {
                Ok(systemd) => systemd.last_lines(&name, count).await,
                Err(_) => Vec::new(),
            }
        }
        .boxed()
    }

    fn log_command(&self, _systems: &Systems, id: &ResourceId) -> String {
        format!("systemctl --user status {}.service", id.name)
    }

    fn definition(&self, systems: &Systems, id: &ResourceId) -> Option<String> {
        files::read_text(&systems.unit_file(id), instances::LIMIT).ok().flatten()
    }

    fn owner_of(&self, pid: u32) -> Option<ResourceId> {
        proc::unit_of(pid).map(|name| ResourceId::new(Kind::Unit, name))
    }
}
