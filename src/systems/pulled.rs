//! Records about models on servers and about pulled images, so that llamero removes only what it brought.

use super::{files, sealed};
use crate::resource::{Digest, Fingerprint, Kind, ResourceId};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The record of one model or image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The fingerprint of the resource.
    pub fingerprint: Fingerprint,
    /// The server's address.
    pub endpoint: String,
    /// The served name.
    pub name: String,
    /// The name that was pulled for it, if it was missing.
    pub pulled: Option<String>,
    /// The content it was made from: the sha256 of a manifest.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// The content of llamero's own model when it was created: a different one was created by another program.
    #[serde(default)]
    pub made: Option<Digest>,
}

impl Pulled {
    /// Returns whether it concerns a name on a server. Ollama's names are case-insensitive.
    #[must_use]
    pub fn is_about(&self, kind: Kind, name: &str, endpoint: &str) -> bool {
        self.endpoint == endpoint && (same(kind, &self.name, name) || self.has_pulled(kind, name, endpoint))
    }

    /// Returns whether a name on a server was pulled for it.
    #[must_use]
    pub fn has_pulled(&self, kind: Kind, name: &str, endpoint: &str) -> bool {
        self.endpoint == endpoint && self.pulled.as_deref().is_some_and(|pulled| same(kind, pulled, name))
    }
}

fn same(kind: Kind, one: &str, other: &str) -> bool {
    if kind == Kind::Model { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// Writes the record of a model.
pub fn record(folder: &Path, id: &ResourceId, pulled: &Pulled) -> Result<(), sealed::Error> {
    sealed::write(&place(folder, id), pulled)
}

/// Returns the record of a model; `None` when llamero does not manage it.
pub fn find(folder: &Path, id: &ResourceId) -> Result<Option<Pulled>, sealed::Error> {
    sealed::read(&place(folder, id))
}

/// Returns every record, by its resource.
pub fn all(folder: &Path, kind: Kind) -> Result<Vec<(ResourceId, Pulled)>, sealed::Error> {
    let mut all = Vec::new();
    for file in files::names(folder)? {
        let Some(name) = file.strip_suffix(".json") else { continue };
        let id = ResourceId::new(kind, name);
        if let Some(pulled) = find(folder, &id)? {
            all.push((id, pulled));
        }
    }
    Ok(all)
}

/// Returns the damaged records, by their resource.
pub fn damage(folder: &Path) -> Result<Vec<(ResourceId, sealed::Error)>, files::Error> {
    let names = files::names(folder)?;
    let ids = names.iter().filter_map(|file| Some(ResourceId::new(Kind::Model, file.strip_suffix(".json")?)));
    Ok(ids.filter_map(|id| find(folder, &id).err().map(|error| (id, error))).collect())
}

/// Returns whether another record than that of `id` uses the same name on the same server, in this or another stack
/// of this user. `folder` belongs to one stack, beside those of the other stacks.
pub fn is_shared(folder: &Path, id: &ResourceId, name: &str, endpoint: &str) -> Result<bool, sealed::Error> {
    let stacks = folder.parent().and_then(Path::parent).unwrap_or(folder);
    let own = place(folder, id);
    for stack in files::names(stacks)? {
        let folder = stacks.join(stack).join(folder.file_name().unwrap_or_default());
        for (other, record) in all(&folder, id.kind)? {
            if record.is_about(id.kind, name, endpoint) && place(&folder, &other) != own {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Removes the record of a model.
pub fn forget(folder: &Path, id: &ResourceId) -> Result<(), files::Error> {
    files::remove(&place(folder, id)).map(drop)
}

fn place(folder: &Path, id: &ResourceId) -> PathBuf {
    folder.join(format!("{}.json", id.name))
}
