//! The holder of the stack lock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The process that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its process.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The time at which it took the lock.
    pub since: String,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}, `{}`, since {}", self.pid, self.command, self.since)
    }
}
