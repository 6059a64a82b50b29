//! The cache, where it is a server of the stack's.

use super::build::Builder;
use super::server::{Contained, Server, is_isolated, listen};
use crate::engines::{CacheServer, Launch};
use crate::manifest::{Cache, Network, Spanned};
use crate::resource::{Gpus, ManifestPath, Origin, ResourceId};
use std::collections::BTreeSet;

/// Adds a cache that the stack runs; returns its name.
pub(super) fn add(builder: &mut Builder<'_>, cache: &Spanned<Cache>) -> Option<ResourceId> {
    let engine = cache.engine.value.0;
    let path = ManifestPath::from("cache");
    let port = cache.port.as_ref().map(|port| port.get()).or(engine.port())?;
    let (launch, probe) = engine.server(&CacheServer {
        listen: listen(cache.common()),
        port: (port, cache.port.as_ref().map(|_| Origin::new(path.key("port"), port))),
        memory: cache.memory.as_ref().map(|memory| (memory.value.0, Origin::new(path.key("memory"), memory.value.0))),
        isolated: is_isolated(cache.common(), Network::Host),
    })?;
    let Launch { arguments, environment, origins, mounts, ipc_host, restart: _, timeout: _, store: _ } = launch;
    builder.server(&Server {
        part: "cache".to_owned(),
        role: "cache".to_owned(),
        span: cache.span.clone(),
        description: format!("{} cache (llamero, stack {})", engine.title(), builder.manifest.stack.value),
        common: cache.common(),
        program: engine.program(),
        path,
        arguments,
        environment,
        secrets: Vec::new(),
        ports: vec![port],
        probe,
        inputs: Vec::new(),
        needs: BTreeSet::new(),
        engine: Some(engine.name()),
        last: None,
        origins,
        working_directory: None,
        gpus: Gpus::None,
        contained: Contained { mounts, ipc_host, ..Contained::default() },
    })
}
