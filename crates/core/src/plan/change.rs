//! What differs about one resource, why it must change, and what the change means to the people who use it.

use super::cause::Cause;
use crate::resource::{Bytes, ResourceId, Seconds};
use serde::Serialize;
use std::fmt;

/// What a change does to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It is not there and will be.
    Create,
    /// It is there and was asked for otherwise.
    Change,
    /// It is there and no longer declared.
    Remove,
    /// Nobody changed the manifest, but the machine is not as it was left.
    Correct,
}

impl Verb {
    /// Returns the sign that stands before the change in a list.
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

/// What a change means to what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disruption {
    /// Nothing that runs is touched.
    None,
    /// Something starts that did not run.
    Start,
    /// Something starts beside what runs and takes its place; nobody notices.
    HandOff,
    /// Something stops and starts again.
    Restart,
    /// Something stops for good.
    Stop,
}

/// What a change costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consequence {
    /// What it means to what runs.
    pub disruption: Disruption,
    /// How long it takes until it is healthy again, as it was measured last.
    pub expected: Option<Seconds>,
    /// Bytes to download; `Some(None)` is a download of unknown size.
    pub download: Option<Option<Bytes>>,
    /// The host memory that it may take, before and after, where that changes.
    pub memory: Option<(Bytes, Bytes)>,
}

impl Consequence {
    /// Returns a consequence of `disruption` alone.
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
    /// What happens to it.
    pub verb: Verb,
    /// What it is, where its name does not say: what is installed, where a file comes from or goes to.
    pub detail: Option<String>,
    /// Why, down to the field.
    pub causes: Vec<Cause>,
    /// What it means.
    pub consequence: Consequence,
    /// Whether it is only said and not done, because the policy on drift is to warn.
    pub left: bool,
}

/// Why a plan must not be walked, by what a person has to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// Something stands where ours belongs, and it is not ours.
    NotOurs,
    /// It can never fit.
    OverBudget,
    /// A port is taken by somebody else.
    PortTaken,
    /// Something that is the user's own is missing or wrong.
    Missing,
    /// A part of the machine could not be seen.
    Unseen,
}

/// Why a plan must not be walked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// The resource that it is about.
    pub on: ResourceId,
    /// What sort of refusal it is.
    pub kind: RefusalKind,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}
