//! What is known of model files: a record beside no file of the user's, keyed by path, that holds as long as the file's
//! size and time of change do.

use super::downloads::Fetched;
use super::{files, sealed};
use crate::resource::{Bytes, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    pub managed: bool,
}

/// Keeps what is known of a file in the folder of records.
pub fn record(records: &Path, path: &Path, fetched: &Fetched, managed: bool) -> Result<(), sealed::Error> {
    let Some((size, changed)) = files::stamp(path)? else { return Ok(()) };
    let known =
        Known { path: path.to_owned(), size, changed: changed.to_string(), sha256: fetched.sha256.clone(), managed };
    sealed::write(&place(records, path), &known)
}

/// Returns the size of a file, and what is known of it; `None` when there is no file.
pub fn find(records: &Path, path: &Path) -> Result<Option<(Bytes, Option<Known>)>, sealed::Error> {
    let Some((size, changed)) = files::stamp(path)? else { return Ok(None) };
    let known = sealed::read_either::<Known>(&place(records, path))?;
    let same = |known: &Known| known.path == path && known.size == size && known.changed == changed.to_string();
    Ok(Some((size, known.filter(same))))
}

/// Returns the digest of every file that is on record and as it was then.
///
/// One that cannot be read is left out: it is told of where its file is looked at.
pub fn all(records: &Path) -> Result<BTreeMap<PathBuf, Digest>, sealed::Error> {
    let mut all = BTreeMap::new();
    for name in files::names(records)?.into_iter().filter(|name| name.strip_suffix(".json").is_some()) {
        let Ok(Some(Known { path, sha256, .. })) = sealed::read_either(&records.join(name)) else { continue };
        if find(records, &path)?.is_some_and(|(_, known)| known.is_some()) {
            all.insert(path, sha256);
        }
    }
    Ok(all)
}

/// Returns what is wrong with the records.
pub fn damage(records: &Path) -> Result<Vec<sealed::Error>, files::Error> {
    let names = files::names(records)?.into_iter().filter(|name| name.strip_suffix(".json").is_some());
    Ok(names.filter_map(|name| sealed::read_either::<Known>(&records.join(name)).err()).collect())
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
