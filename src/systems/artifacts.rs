//! What is known of model files: a record beside no file of the user's, keyed by path, that holds as long as the file's
//! size and time of change do.

use super::downloads::Fetched;
use super::files;
use crate::resource::{Bytes, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest record that is read, in bytes.
const LIMIT: Bytes = Bytes(64 << 10);

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes when the digest was computed.
    pub size: Bytes,
    /// Its time of change then, in nanoseconds since 1970.
    pub changed: String,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Whether llamero put it there.
    pub ours: bool,
}

/// Keeps what is known of a file in the folder of records.
pub fn record(records: &Path, path: &Path, fetched: &Fetched, ours: bool) -> Result<(), files::Error> {
    let Some((size, changed)) = files::stamp(path)? else { return Ok(()) };
    let known =
        Known { path: path.to_owned(), size, changed: changed.to_string(), sha256: fetched.sha256.clone(), ours };
    let text = serde_json::to_string_pretty(&known).unwrap_or_default();
    files::write(&place(records, path), text.as_bytes(), files::PRIVATE)
}

/// Returns the size of a file, and what is known of it; `None` when there is no file.
pub fn find(records: &Path, path: &Path) -> Result<Option<(Bytes, Option<Known>)>, files::Error> {
    let Some((size, changed)) = files::stamp(path)? else { return Ok(None) };
    let text = files::read_text(&place(records, path), LIMIT)?;
    let known = text.and_then(|text| serde_json::from_str::<Known>(&text).ok());
    let same = |known: &Known| known.path == path && known.size == size && known.changed == changed.to_string();
    Ok(Some((size, known.filter(same))))
}

/// Returns the digest of every file that is on record and as it was then.
pub fn all(records: &Path) -> Result<BTreeMap<PathBuf, Digest>, files::Error> {
    let mut all = BTreeMap::new();
    for name in files::names(records)? {
        let Some(text) = files::read_text(&records.join(name), LIMIT)? else { continue };
        let Ok(Known { path, sha256, .. }) = serde_json::from_str(&text) else { continue };
        if find(records, &path)?.is_some_and(|(_, known)| known.is_some()) {
            all.insert(path, sha256);
        }
    }
    Ok(all)
}

/// Forgets what is known of a file that stays.
pub fn forget(records: &Path, path: &Path) -> Result<(), files::Error> {
    files::remove(&place(records, path)).map(drop)
}

/// Removes a file, what is known of it, and its folder if that is empty.
pub fn remove(records: &Path, path: &Path) -> Result<(), files::Error> {
    files::remove(path)?;
    files::remove(&place(records, path))?;
    if let Some(folder) = path.parent() {
        files::remove_empty_folder(folder);
    }
    Ok(())
}

fn place(records: &Path, path: &Path) -> PathBuf {
    let name = Digest::of(path.to_string_lossy().as_bytes());
    records.join(format!("{}.json", name.short()))
}
