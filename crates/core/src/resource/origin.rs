//! The places in the manifest that rendered values come from.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A path of keys in the manifest, such as `models.qwen3.context`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ManifestPath(String);

impl ManifestPath {
    /// Returns the path of a key below this one.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    /// Returns whether it is the path of something within another.
    #[must_use]
    pub fn is_within(&self, part: &Self) -> bool {
        self.0.strip_prefix(&part.0).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Returns the path as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for ManifestPath {
    fn from(path: T) -> Self {
        Self(path.into())
    }
}

impl fmt::Display for ManifestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The setting of the manifest that a rendered value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The setting's path.
    pub path: ManifestPath,
    /// The setting's value as the manifest writes it; `None` where it is not a single line, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The setting that refers to this one, where one does: that a route leads to another provider's port is no change
    /// of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<ManifestPath>,
}

impl Origin {
    /// Returns the setting at `path` with the value that the manifest writes.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and literals are passed as they are")]
    pub fn new(path: impl Into<ManifestPath>, value: impl ToString) -> Self {
        let value = match value.to_string() {
            value if value.contains('\n') => None,
            value if value.is_empty() => Some("\"\"".to_owned()),
            value => Some(value),
        };
        Self { path: path.into(), value, through: None }
    }

    /// Returns the setting at `path` that is there or not: what it holds has origins of its own, or is secret.
    #[must_use]
    pub fn declared(path: impl Into<ManifestPath>) -> Self {
        Self { path: path.into(), value: Some(String::new()), through: None }
    }

    /// Returns the setting at `path`, whose value cannot be shown.
    #[must_use]
    pub fn opaque(path: impl Into<ManifestPath>) -> Self {
        Self { path: path.into(), value: None, through: None }
    }
}

impl Origin {
    /// Returns the origin as one that another setting refers to.
    #[must_use]
    pub fn through(self, path: ManifestPath) -> Self {
        Self { through: Some(path), ..self }
    }
}

/// The origins of a resource's fields, by the names of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(pub BTreeMap<String, Vec<Origin>>);

impl Origins {
    /// Returns the origins of one field.
    #[must_use]
    pub fn of(field: impl Into<String>, origins: impl IntoIterator<Item = Origin>) -> Self {
        let mut all = Self::default();
        all.add(field, origins);
        all
    }

    /// Adds origins of a field.
    pub fn add(&mut self, field: impl Into<String>, origins: impl IntoIterator<Item = Origin>) {
        let mut origins = origins.into_iter().peekable();
        if origins.peek().is_some() {
            self.0.entry(field.into()).or_default().extend(origins);
        }
    }

    /// Adds all origins of another.
    pub fn extend(&mut self, other: Self) {
        for (field, origins) in other.0 {
            self.add(field, origins);
        }
    }

    /// Returns whether no field has an origin.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
