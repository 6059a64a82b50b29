//! A container engine, driven: Docker, or Podman in its place.

mod execute;
mod observe;

use super::{Call, Driver, Scope};
use crate::live::Presence;
use crate::resource::{Kind, Prerequisite, Resource, ResourceId};
use crate::systems::{Failure, Systems};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};

/// The container engine.
#[derive(Debug)]
pub(super) struct Docker;

impl Driver for Docker {
    fn kind(&self) -> Kind {
        Kind::Container
    }

    fn list<'a>(&'a self, scope: Scope<'a>, known: &'a BTreeSet<ResourceId>) -> BoxFuture<'a, Vec<ResourceId>> {
        async move {
            // Where a stack has no container, there need be no engine.
            let needed = known.iter().any(|id| id.kind == Kind::Container);
            if needed { observe::list(scope.systems, scope.stack).await } else { Vec::new() }
        }
        .boxed()
    }

    fn inspect<'a>(
        &'a self,
        scope: Scope<'a>,
        servers: Vec<&'a ResourceId>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Presence>> {
        async move {
            if servers.is_empty() {
                return BTreeMap::new();
            }
            observe::inspect_containers(scope.systems, scope.stack, servers).await
        }
        .boxed()
    }

    fn inspect_others<'a>(
        &'a self,
        scope: Scope<'a>,
        resources: Vec<&'a Resource>,
    ) -> BoxFuture<'a, BTreeMap<ResourceId, Presence>> {
        async move { observe::inspect_images(scope.systems, resources.into_iter()).await }.boxed()
    }

    fn prerequisites<'a>(
        &'a self,
        scope: Scope<'a>,
        needed: BTreeSet<Prerequisite>,
    ) -> BoxFuture<'a, (BTreeSet<Prerequisite>, BTreeSet<String>)> {
        observe::prerequisites(scope.systems, scope.stack, needed).boxed()
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
