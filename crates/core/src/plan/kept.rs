//! What stays on a machine although its stack goes.

use crate::resource::{OllamaName, Prerequisite};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Something that stays although the stack goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kept", content = "what")]
pub enum Kept {
    /// Models, images, environments and the history: only a purge removes them.
    UntilPurged,
    /// The file of a secret, which other programs may use.
    Secret(PathBuf),
    /// A volume or a folder of the host with a container's data.
    Data(Prerequisite),
    /// A model on a server that does not answer.
    Model(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntilPurged => {
                f.write_str("models, images, environments and the history; `llamero down --purge` removes them too")
            }
            Self::Secret(path) => write!(f, "the secret {} (may be in use elsewhere)", path.display()),
            Self::Data(what) => write!(f, "{what} (holds data)"),
            Self::Model(name) => {
                let removal = OllamaName::removal(name);
                write!(f, "the model {name}, because its server does not answer; `{removal}` removes it there")
            }
        }
    }
}
