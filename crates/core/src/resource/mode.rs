//! The purpose of a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The purpose of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Conversations.
    #[default]
    Chat,
    /// Going on with a text.
    Completion,
    /// Turning texts into vectors.
    Embedding,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
        })
    }
}
