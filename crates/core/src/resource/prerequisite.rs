//! Resources of the host that a server needs, that no part of the manifest names as its own, and that are created where
//! they are missing.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// One thing that must be there before a server can be created.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prerequisite {
    /// A network of the stack.
    Network(String),
    /// A volume by its name.
    Volume(String),
    /// A folder of the host.
    Folder(PathBuf),
}

impl fmt::Display for Prerequisite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(name) => write!(f, "network {name}"),
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::Folder(path) => write!(f, "folder {}", path.display()),
        }
    }
}
