//! Redis as a cache: bounded, nothing kept on disk, the oldest answers go first.

use super::super::build::{Builder, Server};
use crate::manifest::{Cache, Spanned};
use crate::resource::{Bytes, Probe, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// The port when the manifest says none; Redis's own.
const PORT: u16 = 6379;

/// The memory when the manifest says none: without a limit a cache grows until the machine is full.
const MEMORY: Bytes = Bytes(256 << 20);

/// Adds a Redis that the stack runs; returns its name.
pub(in super::super) fn add(builder: &mut Builder<'_>, cache: &Spanned<Cache>) -> Option<ResourceId> {
    let port = cache.port.as_ref().map_or(PORT, |port| port.value.0);
    let memory = cache.memory.as_ref().map_or(MEMORY, |memory| memory.value.0);
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
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory",
            &memory_text,
            "--maxmemory-policy",
            "allkeys-lru",
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports: vec![port],
        probe: Probe::Redis { port, maxmemory: Some(memory) },
        inputs: Vec::new(),
        needs: BTreeSet::new(),
        last: Vec::new(),
        working_directory: None,
    })
}
