//! What inspecting a resource returns: absent, present or unknown.

use super::{LiveRun, Ownership, Unseen};
use crate::resource::{Digest, Fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The result of inspecting one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Live),
    /// It could not be inspected: it is there or not.
    Unknown(Unseen),
}

/// A resource that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// The file of a secret; its value is not read.
    Secret,
    /// A Python environment.
    Environment {
        /// True if it is complete: an interrupted one is unusable.
        complete: bool,
    },
    /// A model file.
    Artifact {
        /// Its size in bytes.
        size: u64,
        /// The digest computed of the file as it is now, if there is one.
        sha256: Option<Digest>,
        /// True if llamero created it.
        managed: bool,
    },
    /// A container image.
    Image {
        /// True if llamero pulled it.
        managed: bool,
    },
    /// A rendered file.
    File(LiveFile),
    /// A model on a server.
    Model {
        /// The recorded fingerprint, if llamero manages it.
        recorded: Option<Fingerprint>,
        /// True if it is loaded for good.
        loaded: bool,
        /// Its content, or the content it is made from: the sha256 of a manifest, where it is known.
        #[serde(default)]
        sha256: Option<Digest>,
        /// True if llamero pulled its base model.
        #[serde(default)]
        managed: bool,
        /// True if the desired content is present on the server under another name.
        #[serde(default)]
        kept: bool,
        /// True if its server does not answer, and only its model folder was read.
        #[serde(default)]
        unserved: bool,
        /// True if it is llamero's own model, but another program has recreated it since.
        #[serde(default)]
        edited: bool,
        /// Its settings in force, where they were read back, by the names of the fields that declare them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        effective: BTreeMap<String, String>,
    },
    /// A server.
    Run(Box<LiveRun>),
}

/// A file at the path of a managed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile {
    /// The content of its marker, if it has one.
    pub marker: Option<Ownership>,
    /// Its text after the marker, unless it holds secrets or is too large to show.
    pub text: Option<String>,
}
