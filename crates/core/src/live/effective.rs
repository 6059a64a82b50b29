//! The settings in force on a live server, where they can be read back: what its runtime applies, and what its engine
//! reports. A value that is not known is not here.

use crate::resource::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The settings in force on a live server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Effective {
    /// The files outside of its definition that change it, such as drop-ins of a unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// The values in force by the names of the fields that declare them, such as `limits.memory` or `--ctx-size`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// A file that changes the definition of a server from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Override {
    /// The file.
    pub path: PathBuf,
    /// The names of the settings that it makes, sorted.
    pub settings: Vec<String>,
}

impl Effective {
    /// The name of the whole command among the values.
    pub const COMMAND: &'static str = "command line";

    /// The name of the memory limit, in bytes, among the values.
    pub const MEMORY: &'static str = "limits.memory";

    /// The name of the limit of processor time, such as `150%`, among the values.
    pub const CPUS: &'static str = "limits.cpus";

    /// The value of a limit that is not set.
    pub const UNLIMITED: &'static str = "none";

    /// Returns the value that stands for words that may hold a secret.
    #[must_use]
    pub fn digested(text: &str) -> String {
        Digest::of(text).short().to_owned()
    }

    /// Returns whether the value of this name is a digest.
    #[must_use]
    pub fn is_digested(name: &str) -> bool {
        name == Self::COMMAND || name.starts_with("environment ")
    }

    /// Returns whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overrides.is_empty() && self.values.is_empty()
    }
}
