//! What is known of models on a server that was asked for them, and of images that were pulled: a record for each, so
//! that nothing is ever removed but what llamero brought.

use super::files;
use crate::resource::{Bytes, Digest, Fingerprint, Kind, ResourceId};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest record that is read.
const LIMIT: Bytes = Bytes(64 << 10);

/// What llamero did for one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The fingerprint of what was asked for.
    pub fingerprint: Fingerprint,
    /// The server's address.
    pub endpoint: String,
    /// The name that is served.
    pub name: String,
    /// The name that was pulled for it, if it was not there already.
    pub pulled: Option<String>,
    /// The content that it was made from: the sha256 of a manifest.
    #[serde(default)]
    pub sha256: Option<Digest>,
}

/// Keeps what was done for a model.
pub fn record(folder: &Path, id: &ResourceId, pulled: &Pulled) -> Result<(), files::Error> {
    let text = serde_json::to_string_pretty(pulled).unwrap_or_default();
    files::write(&place(folder, id), text.as_bytes(), files::PRIVATE)
}

/// Returns what was done for a model; `None` when it is not llamero's.
pub fn find(folder: &Path, id: &ResourceId) -> Result<Option<Pulled>, files::Error> {
    let text = files::read_text(&place(folder, id), LIMIT)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Returns every record that can be read, by what it is of.
pub fn all(folder: &Path, kind: Kind) -> Result<Vec<(ResourceId, Pulled)>, files::Error> {
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

/// Returns whether another record than that of `id` stands on the same name of the same server, in this stack or in
/// another of this user. `folder` is one of a stack's, beside those of the other stacks.
pub fn is_shared(folder: &Path, id: &ResourceId, name: &str, endpoint: &str) -> Result<bool, files::Error> {
    let stacks = folder.parent().and_then(Path::parent).unwrap_or(folder);
    let own = place(folder, id);
    for stack in files::names(stacks)? {
        let folder = stacks.join(stack).join(folder.file_name().unwrap_or_default());
        for (other, record) in all(&folder, id.kind)? {
            let same = record.name == name || record.pulled.as_deref() == Some(name);
            if same && record.endpoint == endpoint && place(&folder, &other) != own {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Forgets a model.
pub fn forget(folder: &Path, id: &ResourceId) -> Result<(), files::Error> {
    files::remove(&place(folder, id)).map(drop)
}

fn place(folder: &Path, id: &ResourceId) -> PathBuf {
    folder.join(format!("{}.json", id.name))
}
