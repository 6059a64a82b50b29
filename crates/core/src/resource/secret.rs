//! Secrets by reference, and text that contains them without holding their values.

use super::fingerprint::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A reference to a secret's value. The value itself is read as late as possible and kept nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretReference {
    /// An environment variable of llamero's own process.
    Env(String),
    /// The content of a file, without trailing white space.
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

/// A part of a text: literal, or a placeholder for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A placeholder for a secret.
    Secret {
        /// The reference to the value.
        reference: SecretReference,
        /// The keyed digest of the value at the time the desired state was resolved: it changes when the secret
        /// rotates. Where the value could not be read, it is that of the value in force, or of no value at all.
        digest: Digest,
    },
}

/// Text with placeholders for its secrets until it is written.
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

    /// Returns the references to its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret { reference, .. } => Some(reference),
            Piece::Text(_) => None,
        })
    }

    /// Returns whether another content differs at most in the values of its secrets.
    #[must_use]
    pub fn has_text_of(&self, other: &Self) -> bool {
        let same = |pieces: (&Piece, &Piece)| match pieces {
            (Piece::Text(one), Piece::Text(other)) => one == other,
            (Piece::Secret { .. }, Piece::Secret { .. }) => true,
            _ => false,
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
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

    /// Returns the text with a mask in place of every secret.
    #[must_use]
    pub fn masked(&self) -> String {
        self.0.iter().map(|piece| if let Piece::Text(text) = piece { text } else { "(secret)" }).collect()
    }
}
