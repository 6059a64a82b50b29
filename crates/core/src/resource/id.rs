//! Ids of resources: a kind and a name, unique within a stack.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The kind of a resource. The order is the listing order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A secret that llamero generates once and keeps in a file.
    Secret,
    /// A Python environment, named by the hash of its requirements.
    Environment,
    /// A model file on disk.
    Artifact,
    /// A container image.
    Image,
    /// A rendered file: a gateway config, an environment file.
    File,
    /// A server run by the systemd user manager.
    Unit,
    /// A server run by llamero's own supervisor.
    Process,
    /// A server run by a container engine.
    Container,
    /// A model on a server.
    Model,
}

impl Kind {
    /// Every kind, in listing order.
    pub const ALL: [Self; 9] = [
        Self::Secret,
        Self::Environment,
        Self::Artifact,
        Self::Image,
        Self::File,
        Self::Unit,
        Self::Process,
        Self::Container,
        Self::Model,
    ];

    /// Returns the kind as it is printed and stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Environment => "environment",
            Self::Artifact => "artifact",
            Self::Image => "image",
            Self::File => "file",
            Self::Unit => "unit",
            Self::Process => "process",
            Self::Container => "container",
            Self::Model => "model",
        }
    }

    /// Returns whether resources of this kind are retained for the generations that a rollback can reach.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(self, Self::Artifact | Self::Environment | Self::Image | Self::Model)
    }

    /// Returns whether resources of this kind are servers that run.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Unit | Self::Process | Self::Container)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The id of one resource of a stack, printed and stored as `kind/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// Its kind.
    pub kind: Kind,
    /// Its name within the stack; never empty, without `/` and white space.
    pub name: String,
}

impl ResourceId {
    /// Returns the id of the resource `name` of `kind`.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.kind, self.name))
    }
}

impl FromStr for ResourceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('/').ok_or_else(|| format!("`{text}` is not `kind/name`"))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| format!("`{kind}` is not a kind of resource"))?;
        if name.is_empty() {
            return Err(format!("`{text}` has no name"));
        }
        Ok(Self::new(kind, name))
    }
}

impl Serialize for ResourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
