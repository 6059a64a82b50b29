//! The cache, where it is a server of the stack's.

use super::build::Builder;
use super::server::{Declaration, Server, is_isolated, listen};
use crate::engines::CacheServer;
use crate::manifest::{Cache, Network, Spanned};
use crate::resource::{ManifestPath, Origin, ResourceId};

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
    let declaration = Declaration {
        part: "cache".to_owned(),
        role: "cache".to_owned(),
        path,
        span: cache.span.clone(),
        common: cache.common(),
    };
    let description = format!("{} cache", engine.title());
    let server = Server { ports: vec![port], ..Server::declared(declaration, description, probe) };
    builder.server(&server.launched(engine, launch))
}
