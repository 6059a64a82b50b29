//! Secrets by reference, and text that contains them without holding their values.

use super::fingerprint::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Where a secret's value is to be found. The value itself is read as late as possible and kept nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretReference {
    /// A variable of the environment in which llamero runs.
    Env(String),
    /// The content of a file, without white space at its end.
    File(PathBuf),
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// A part of a text: as it stands, or a secret's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// A secret's place.
    Secret {
        /// Where the value is found.
        reference: SecretReference,
        /// The keyed digest of the value that was seen when this was desired: it changes when the secret rotates.
        digest: Digest,
    },
}

/// Text whose secrets are holes until the moment that it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(pub Vec<Piece>);

impl Content {
    /// Returns content without secrets.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// Returns whether any part is a secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Secret { .. }))
    }

    /// Returns what its secrets refer to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret { reference, .. } => Some(reference),
            Piece::Text(_) => None,
        })
    }

    /// Returns the digest over text and secrets' digests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => hasher.update(text.as_bytes()),
                Piece::Secret { digest, .. } => {
                    hasher.update(b"\0secret ");
                    hasher.update(digest.as_str().as_bytes());
                }
            }
        }
        Digest::finish(hasher)
    }

    /// Returns the text with every secret as a mask that says nothing about its value.
    #[must_use]
    pub fn masked(&self) -> String {
        self.0.iter().map(|piece| if let Piece::Text(text) = piece { text } else { "(secret)" }).collect()
    }
}
