//! How a server fares, by what it answered.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a server fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It answered as it should.
    Healthy,
    /// It is alive and not ready yet, and says so.
    Loading {
        /// What it said.
        why: String,
    },
    /// It answered, but not as it should.
    Unhealthy {
        /// What was wrong with the answer.
        why: String,
    },
    /// It did not answer.
    Unreachable {
        /// How the question failed.
        why: String,
    },
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Loading { why } => write!(f, "loading: {why}"),
            Self::Unhealthy { why } => write!(f, "unhealthy: {why}"),
            Self::Unreachable { why } => write!(f, "does not answer: {why}"),
        }
    }
}
