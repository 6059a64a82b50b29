//! Redis as a cache: bounded, nothing kept on disk, the oldest answers go first.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, is_isolated, listen};
use super::super::references::REDIS;
use crate::manifest::{Cache, Network, Spanned};
use crate::resource::{Bytes, Gpus, Probe, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// The memory when the manifest says none: without a limit a cache grows until the machine is full.
const MEMORY: Bytes = Bytes(256 << 20);

/// Adds a Redis that the stack runs; returns its name.
pub(in super::super) fn add(builder: &mut Builder<'_>, cache: &Spanned<Cache>) -> Option<ResourceId> {
    let port = cache.port.as_ref().map_or(REDIS, |port| port.value.0);
    let memory = cache.memory.as_ref().map_or(MEMORY, |memory| memory.value.0);
    let isolated = is_isolated(cache.common(), Network::Host);
    let port_text = port.to_string();
    let memory_text = memory.0.to_string();
    builder.server(&Server {
        part: "cache".to_owned(),
        role: "cache".to_owned(),
        span: cache.span.clone(),
        description: format!("Redis cache (llamero, stack {})", builder.manifest.stack.value),
        common: cache.common(),
        program: Some("redis-server"),
        arguments: [
            "--port",
            &port_text,
            "--bind",
            listen(cache.common()),
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory",
            &memory_text,
            "--maxmemory-policy",
            "allkeys-lru",
        ]
        .into_iter()
        // From a network of its own everyone is a stranger to it; only the host's loopback leads there.
        .chain(isolated.then_some(["--protected-mode", "no"]).into_iter().flatten())
        .map(str::to_owned)
        .collect(),
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports: vec![port],
        probe: Probe::Redis { port, maxmemory: Some(memory) },
        inputs: Vec::new(),
        needs: BTreeSet::new(),
        last: Vec::new(),
        working_directory: None,
        gpus: Gpus::None,
        contained: Contained::default(),
    })
}
