//! What a stack has on a machine beside its resources: records, and downloads that were not finished.

use crate::resource::ResourceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One such thing. The history is the last of them: as long as it exists, the others can be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "remnant")]
pub enum Remnant {
    /// A download, or the output of a command, that was not finished.
    Download {
        /// The model file that it was to become.
        artifact: ResourceId,
        /// The path of that file.
        path: PathBuf,
    },
    /// The record of a model file's digest.
    DigestRecord {
        /// The model file.
        artifact: ResourceId,
        /// The path of that file.
        path: PathBuf,
    },
    /// The records of what servers pulled or made.
    ModelRecords {
        /// Their folder.
        path: PathBuf,
        /// The recorded models, with the names that their servers know.
        models: BTreeMap<ResourceId, String>,
    },
    /// The records of pulled images.
    ImageRecords {
        /// Their folder.
        path: PathBuf,
    },
    /// A folder in which nothing is but what killed writers left.
    EmptyFolder {
        /// Its path.
        path: PathBuf,
    },
    /// The failure records.
    FailureRecords {
        /// Their file.
        path: PathBuf,
    },
    /// The suspension of the stack.
    Suspension {
        /// Its file.
        path: PathBuf,
    },
    /// The messages of dead-man's switches.
    SwitchLog {
        /// Their file.
        path: PathBuf,
    },
    /// The records of generations.
    History {
        /// Their folder.
        path: PathBuf,
        /// The number of generations.
        generations: usize,
    },
}

impl Remnant {
    /// Returns its path, or that of the model file concerned.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Download { path, .. }
            | Self::DigestRecord { path, .. }
            | Self::ModelRecords { path, .. }
            | Self::ImageRecords { path }
            | Self::EmptyFolder { path }
            | Self::FailureRecords { path }
            | Self::Suspension { path }
            | Self::SwitchLog { path }
            | Self::History { path, .. } => path,
        }
    }
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Download { artifact, .. } => write!(f, "unfinished download of {artifact}"),
            Self::DigestRecord { artifact, .. } => write!(f, "digest record of {artifact}"),
            Self::ModelRecords { .. } => f.write_str("records of models"),
            Self::ImageRecords { .. } => f.write_str("records of images"),
            Self::EmptyFolder { path } => write!(f, "empty folder {}", path.display()),
            Self::FailureRecords { .. } => f.write_str("failure records"),
            Self::Suspension { .. } => f.write_str("suspension"),
            Self::SwitchLog { .. } => f.write_str("log of dead-man's switches"),
            Self::History { generations: 1, .. } => f.write_str("history of 1 generation"),
            Self::History { generations, .. } => write!(f, "history of {generations} generations"),
        }
    }
}
