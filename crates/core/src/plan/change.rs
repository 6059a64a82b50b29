//! Changes of resources: what differs, why, and the effect on running servers.

use super::cause::Cause;
use crate::resource::{Bytes, ResourceId, Seconds, SecretReference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// The resource is missing and is created.
    Create,
    /// The resource exists and its declaration has changed.
    Change,
    /// The resource exists and is no longer declared.
    Remove,
    /// The manifest is unchanged, but the machine has drifted.
    Correct,
}

impl Verb {
    /// Returns the sign printed before the change.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change => '~',
            Self::Remove => '-',
            Self::Correct => '!',
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Correct => "correct",
        })
    }
}

/// The effect of a change on running servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disruption {
    /// No running server changes.
    None,
    /// A server starts that did not run.
    Start,
    /// A successor starts beside the running server and takes over its socket without interruption.
    HandOff,
    /// A server stops and starts again.
    Restart,
    /// A server stops for good.
    Stop,
}

/// The cost of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consequence {
    /// The effect on running servers.
    pub disruption: Disruption,
    /// The time until it is healthy again, as last measured.
    pub expected: Option<Seconds>,
    /// Bytes to download; `Some(None)` is a download of unknown size.
    pub download: Option<Option<Bytes>>,
    /// The host memory limit before and after, where it changes.
    pub memory: Option<(Bytes, Bytes)>,
}

impl Consequence {
    /// Returns a consequence of `disruption` only.
    #[must_use]
    pub const fn of(disruption: Disruption) -> Self {
        Self { disruption, expected: None, download: None, memory: None }
    }
}

/// One resource that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The resource.
    pub on: ResourceId,
    /// The part of the manifest that it serves.
    pub role: String,
    /// The kind of change.
    pub verb: Verb,
    /// A detail that the name does not show: the installed packages, the source or the path of a file.
    pub detail: Option<String>,
    /// The causes, down to the field.
    pub causes: Vec<Cause>,
    /// The consequence.
    pub consequence: Consequence,
    /// True if the change is only reported, because the drift policy is to warn.
    pub left: bool,
}

/// A resource that matches the manifest as far as that is known: it changes if one of the secrets has another value than
/// the one in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undetermined {
    /// The resource.
    pub on: ResourceId,
    /// The part of the manifest that it serves.
    pub role: String,
    /// The secrets whose values are unknown.
    pub secrets: BTreeSet<SecretReference>,
}

impl fmt::Display for Undetermined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: Vec<String> = self.secrets.iter().map(ToString::to_string).collect();
        write!(f, "depends on the secret in {}", secrets.join(" and in "))
    }
}

/// The kind of a conflict that blocks a plan, by its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// An unmanaged resource exists in its place.
    NotOurs,
    /// The budget can never suffice.
    OverBudget,
    /// Another program holds a port.
    PortTaken,
    /// A file or setting of the user's own is missing or wrong.
    Missing,
    /// A part of the machine could not be observed.
    Unseen,
}

/// A conflict that blocks a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// The resource concerned.
    pub on: ResourceId,
    /// Its kind.
    pub kind: RefusalKind,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}
