//! What could not be inspected, and why. It is there or not: neither is assumed.

use crate::resource::{Kind, Prerequisite};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why something could not be inspected. Who has the error that prevented it knows the remedy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unseen {
    /// The reason.
    pub why: String,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Unseen {
    /// Returns a reason without a remedy.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    /// Returns the reason for what nothing was asked about.
    #[must_use]
    pub fn not_inspected() -> Self {
        Self::new("it was not inspected")
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A part of a machine that is no single resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The servers of a kind that carry the stack's ownership marker, whether they are on record or not.
    Servers(Kind),
    /// The networks with the stack's ownership marker, in which servers of a kind are.
    Networks(Kind),
    /// A prerequisite of servers of a kind.
    Prerequisite(Kind, Prerequisite),
}

impl Part {
    /// Returns the kind of the servers concerned.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Servers(kind) | Self::Networks(kind) | Self::Prerequisite(kind, _) => *kind,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(kind) => write!(f, "every {kind} of the stack"),
            Self::Networks(_) => f.write_str("the networks of the stack"),
            Self::Prerequisite(_, what) => write!(f, "{what}"),
        }
    }
}
