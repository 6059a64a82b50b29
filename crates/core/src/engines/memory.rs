//! The gateway's own memory as a cache: no server.

use super::{Cache, CacheServer, Engine, Launch, Rendered};
use crate::resource::Probe;

/// The gateway's own memory.
#[derive(Debug)]
pub struct Memory;

impl Engine for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }
    fn title(&self) -> &'static str {
        "the gateway's own memory"
    }
    fn about(&self) -> &'static str {
        "The gateway's own memory."
    }
    fn program(&self) -> Option<&'static str> {
        None
    }
    fn names_cause(&self, _: &str) -> bool {
        false
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered::NOTHING
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Cache for Memory {
    fn port(&self) -> Option<u16> {
        None
    }
    fn protocol(&self) -> &'static str {
        "local"
    }
    fn server(&self, _: &CacheServer) -> Option<(Launch, Probe)> {
        None
    }
}
