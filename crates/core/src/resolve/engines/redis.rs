//! Redis as a cache: bounded, nothing kept on disk, the oldest answers go first.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, is_isolated, listen};
use super::super::references::REDIS;
use crate::manifest::{Cache, Network, Spanned};
use crate::resource::{Bytes, Command, Gpus, ManifestPath, Origin, Origins, Probe, ResourceId, RespProbe};
use std::collections::{BTreeMap, BTreeSet};

/// The memory when the manifest says none: without a limit a cache grows until the machine is full.
const MEMORY: Bytes = Bytes(256 << 20);

/// Returns the question whether a server answers, and keeps to its memory limit.
#[must_use]
pub fn probe(port: u16, memory: Bytes) -> Probe {
    Probe::Resp(RespProbe { port, sizes: BTreeMap::from([("maxmemory".to_owned(), memory)]) })
}

/// Adds a Redis that the stack runs; returns its name.
pub(in super::super) fn add(builder: &mut Builder<'_>, cache: &Spanned<Cache>) -> Option<ResourceId> {
    let port = cache.port.as_ref().map_or(REDIS, |port| port.get());
    let memory = cache.memory.as_ref().map_or(MEMORY, |memory| memory.value.0);
    let isolated = is_isolated(cache.common(), Network::Host);
    let path = ManifestPath::from("cache");
    let mut arguments = Command::default();
    arguments.option("--port", port, cache.port.as_ref().map(|_| Origin::new(path.key("port"), port)));
    arguments.option("--bind", listen(cache.common()), None);
    arguments.option("--save", "", None);
    arguments.option("--appendonly", "no", None);
    let origin = cache.memory.as_ref().map(|_| Origin::new(path.key("memory"), memory.exact()));
    arguments.option("--maxmemory", memory.0, origin);
    arguments.option("--maxmemory-policy", "allkeys-lru", None);
    if isolated {
        // Every client of such a network is remote for Redis; only the host's loopback leads there.
        arguments.option("--protected-mode", "no", None);
    }
    builder.server(&Server {
        part: "cache".to_owned(),
        role: "cache".to_owned(),
        span: cache.span.clone(),
        description: format!("Redis cache (llamero, stack {})", builder.manifest.stack.value),
        common: cache.common(),
        program: Some("redis-server"),
        path,
        arguments,
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports: vec![port],
        probe: probe(port, memory),
        inputs: Vec::new(),
        needs: BTreeSet::new(),
        engine: Some("redis"),
        last: None,
        origins: Origins::default(),
        working_directory: None,
        gpus: Gpus::None,
        contained: Contained::default(),
    })
}
