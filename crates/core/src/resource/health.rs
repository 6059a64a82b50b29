//! What a server said when it was asked whether it is healthy.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The answer to one [`Probe`](super::Probe), asked once. Every reason is one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "health")]
pub enum Health {
    /// It answers as it should.
    Healthy,
    /// It answers, and says that it is still getting ready.
    Loading {
        /// What it said.
        why: String,
    },
    /// It answers, and the answer is not what was asked for: waiting may not mend it.
    Unhealthy {
        /// What is wrong with the answer.
        why: String,
    },
    /// It gave no answer that can be read; nothing is known about it.
    Unreachable {
        /// What came instead of an answer.
        why: String,
    },
}

impl Health {
    /// Returns that it is still getting ready.
    #[must_use]
    pub fn loading(why: impl Into<String>) -> Self {
        Self::Loading { why: why.into() }
    }

    /// Returns that its answer is wrong.
    #[must_use]
    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self::Unhealthy { why: why.into() }
    }

    /// Returns that there was no answer.
    #[must_use]
    pub fn unreachable(why: impl Into<String>) -> Self {
        Self::Unreachable { why: why.into() }
    }

    /// Returns whether it answers as it should.
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
        }
    }
}
