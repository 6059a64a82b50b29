//! Redis as a cache: bounded, nothing kept on disk, the oldest answers go first.

use super::{Cache, CacheServer, Engine, Launch, Rendered};
use crate::resource::{Bytes, Command, Origin, Probe, RespProbe};
use std::collections::BTreeMap;

/// The memory when the manifest gives none: without a limit a cache grows until the machine is full.
const MEMORY: Bytes = Bytes(256 << 20);

/// Redis.
#[derive(Debug)]
pub struct Redis;

impl Engine for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }
    fn title(&self) -> &'static str {
        "Redis"
    }
    fn about(&self) -> &'static str {
        "Redis."
    }
    fn program(&self) -> Option<&'static str> {
        Some("redis-server")
    }
    fn names_cause(&self, line: &str) -> bool {
        super::python::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            flags: &[
                (&["--port"], "`port`"),
                (&["--bind"], "`network`, which decides the address"),
                (&["--maxmemory"], "`memory`"),
            ],
            defaults: &["--save", "--appendonly", "--maxmemory-policy", "--protected-mode"],
            ..Rendered::NOTHING
        }
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Cache for Redis {
    fn port(&self) -> Option<u16> {
        Some(6379)
    }
    fn protocol(&self) -> &'static str {
        "redis"
    }
    fn server(&self, server: &CacheServer) -> Option<(Launch, Probe)> {
        let (memory, of_memory): (Bytes, Option<Origin>) =
            server.memory.clone().map_or((MEMORY, None), |(memory, origin)| (memory, Some(origin)));
        let (port, of_port) = server.port.clone();
        let mut arguments = Command::default();
        arguments.option("--port", port, of_port);
        arguments.option("--bind", server.listen, None);
        arguments.option("--save", "", None);
        arguments.option("--appendonly", "no", None);
        arguments.option("--maxmemory", memory.0, of_memory);
        arguments.option("--maxmemory-policy", "allkeys-lru", None);
        if server.isolated {
            // Every client of such a network is remote for Redis; only the host's loopback leads there.
            arguments.option("--protected-mode", "no", None);
        }
        let probe = Probe::Resp(RespProbe { port, sizes: BTreeMap::from([("maxmemory".to_owned(), memory)]) });
        Some((Launch { arguments, ..Launch::default() }, probe))
    }
}
