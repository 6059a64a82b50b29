//! The health of a server.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The result of one run of a [`Probe`](super::Probe). Every reason is one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "health")]
pub enum Health {
    /// It answers as expected.
    Healthy,
    /// It answers that it is still getting ready.
    Loading {
        /// The reason.
        why: String,
    },
    /// It answers, but not as expected: waiting may not help.
    Unhealthy {
        /// The defect of the answer.
        why: String,
    },
    /// It gave no readable answer; its state is unknown.
    Unreachable {
        /// The outcome instead of an answer.
        why: String,
    },
    /// It was not asked: what the question needs cannot be had. Its state is unknown.
    NotAsked {
        /// The reason.
        why: String,
        /// The remedy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl Health {
    /// Returns the health of a server that is still getting ready.
    #[must_use]
    pub fn loading(why: impl Into<String>) -> Self {
        Self::Loading { why: why.into() }
    }

    /// Returns the health of a server with a wrong answer.
    #[must_use]
    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self::Unhealthy { why: why.into() }
    }

    /// Returns the health of a server without an answer.
    #[must_use]
    pub fn unreachable(why: impl Into<String>) -> Self {
        Self::Unreachable { why: why.into() }
    }

    /// Returns whether it answers as expected.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        *self == Self::Healthy
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Loading { why } => write!(f, "loading: {why}"),
            Self::Unhealthy { why } => write!(f, "unhealthy: {why}"),
            Self::Unreachable { why } => write!(f, "unreachable: {why}"),
            Self::NotAsked { why, .. } => write!(f, "unknown: it was not asked: {why}"),
        }
    }
}
