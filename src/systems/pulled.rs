//! What is known of models on a server that was asked for them: a record for each, so that nothing is ever removed but
//! what llamero brought.

use super::files;
use crate::resource::{Bytes, Fingerprint, ResourceId};
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

/// Returns whether another record than that of `id` stands on the same name of the same server.
pub fn is_shared(folder: &Path, id: &ResourceId, name: &str, endpoint: &str) -> Result<bool, files::Error> {
    for other in files::names(folder)? {
        let Some(text) = files::read_text(&folder.join(&other), LIMIT)? else { continue };
        let Ok(other_pulled) = serde_json::from_str::<Pulled>(&text) else { continue };
        let same = other_pulled.name == name || other_pulled.pulled.as_deref() == Some(name);
        if folder.join(&other) != place(folder, id) && same && other_pulled.endpoint == endpoint {
            return Ok(true);
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
