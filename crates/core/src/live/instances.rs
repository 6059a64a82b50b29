//! The instances of a live server that hands its socket off.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The parts of a server that hands its socket off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// The instance to which the server's own name leads.
    #[serde(default)]
    pub current: Option<u64>,
    /// The other instances that carry the stack's ownership marker.
    #[serde(default)]
    pub others: BTreeMap<u64, InstanceState>,
    /// The number of the next instance: neither a process, a job nor a file has it.
    pub next: u64,
    /// True if the socket listens.
    #[serde(default)]
    pub listens: bool,
}

impl Default for Instances {
    fn default() -> Self {
        Self { current: None, others: BTreeMap::new(), next: 1, listens: false }
    }
}

/// The state of an instance that is not the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// It does not run.
    Defined,
    /// It was started, and no client reaches it.
    Started,
    /// It serves clients, or drains the requests of clients.
    Serving,
}
