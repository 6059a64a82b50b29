//! Records about model files, keyed by path and kept apart from the files. A record is valid while the file's size
//! and modification time match it.

use super::downloads::Fetched;
use super::{files, sealed};
use crate::resource::{Bytes, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A record about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes when the digest was computed.
    pub size: Bytes,
    /// Its modification time then, in nanoseconds since 1970.
    pub changed: String,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// True if llamero created the file.
    pub managed: bool,
}

/// Writes the record of a file.
pub fn record(records: &Path, path: &Path, fetched: &Fetched, managed: bool) -> Result<(), sealed::Error> {
    let Some((size, changed)) = files::stamp(path)? else { return Ok(()) };
    let known =
        Known { path: path.to_owned(), size, changed: changed.to_string(), sha256: fetched.sha256.clone(), managed };
    sealed::write(&place(records, path), &known)
}

/// Returns the size of a file and its valid record; `None` when there is no file.
pub fn find(records: &Path, path: &Path) -> Result<Option<(Bytes, Option<Known>)>, sealed::Error> {
    let Some((size, changed)) = files::stamp(path)? else { return Ok(None) };
    let known = sealed::read::<Known>(&place(records, path))?;
    let same = |known: &Known| known.path == path && known.size == size && known.changed == changed.to_string();
    Ok(Some((size, known.filter(same))))
}

/// Returns the digest of every file that still matches its record.
///
/// An unreadable record is skipped: the observation of its file reports it.
pub fn all(records: &Path) -> Result<BTreeMap<PathBuf, Digest>, sealed::Error> {
    let mut all = BTreeMap::new();
    for name in files::names(records)?.into_iter().filter(|name| name.strip_suffix(".json").is_some()) {
        let Ok(Some(Known { path, sha256, .. })) = sealed::read(&records.join(name)) else { continue };
        if find(records, &path)?.is_some_and(|(_, known)| known.is_some()) {
            all.insert(path, sha256);
        }
    }
    Ok(all)
}

/// Returns the damaged records.
pub fn damage(records: &Path) -> Result<Vec<sealed::Error>, files::Error> {
    let names = files::names(records)?.into_iter().filter(|name| name.strip_suffix(".json").is_some());
    Ok(names.filter_map(|name| sealed::read::<Known>(&records.join(name)).err()).collect())
}

/// Returns whether there is a record of a file, valid or not.
#[must_use]
pub fn has_record(records: &Path, path: &Path) -> bool {
    place(records, path).exists()
}

/// Removes the record of a file that stays.
pub fn forget(records: &Path, path: &Path) -> Result<(), files::Error> {
    files::remove(&place(records, path)).map(drop)
}

/// Removes a file, its record, and its folder if that is empty.
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
