//! The verbs of a container engine.

use super::super::driver::{Call, Driver, Findings, Inquiry, Scope};
use super::{execute, observe};
use crate::live::Presence;
use crate::resource::{Kind, ResourceId};
use crate::systems::{Failure, Systems};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;

/// The container engine.
#[derive(Debug)]
pub(in crate::targets) struct Docker;

impl Driver for Docker {
    fn kind(&self) -> Kind {
        Kind::Container
    }

    fn system(&self) -> &'static str {
        "the container engine"
    }

    fn observe<'a>(&'a self, scope: Scope<'a>, inquiry: Inquiry<'a>) -> BoxFuture<'a, Findings> {
        observe::observe(scope, inquiry).boxed()
    }

    fn inspect<'a>(
        &'a self,
        scope: Scope<'a>,
        servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Presence>> {
        observe::inspect_containers(scope, servers).boxed()
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        execute::execute(call).boxed()
    }

    fn last_lines<'a>(&'a self, scope: Scope<'a>, id: &'a ResourceId, count: usize) -> BoxFuture<'a, Vec<String>> {
        async move {
            let Ok(docker) = scope.systems.docker().await else { return Vec::new() };
            docker.stack(scope.stack).last_lines(&id.name, count).await.unwrap_or_default()
        }
        .boxed()
    }

    fn log_command(&self, _systems: &Systems, id: &ResourceId) -> String {
        format!("docker logs {}", id.name)
    }
}
