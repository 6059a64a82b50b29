//! Folders: created privately, removed durably.

use super::error::Error;
use super::read::names;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The beginning of the name of a file that is being written.
pub(super) const TEMPORARY: &str = ".llamero-new-";

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates the folder at `path` and its missing parents, durably and for their owner alone.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    // Each is an entry of its parent, and is lost in a power cut unless that was synced.
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::refused("create the folder", path))?;
    missing.into_iter().try_for_each(|folder| sync_folder(folder_of(folder)))
}

/// Removes the folder at `path` with its content, durably; returns whether there was one.
pub fn remove_folder(path: &Path) -> Result<bool, Error> {
    gone(fs::remove_dir_all(path), path)
}

/// Removes the folder at `path` if it is empty.
pub fn remove_empty_folder(path: &Path) {
    // A folder in use stays.
    let _ = fs::remove_dir(path);
}

/// Removes temporary files of killed writers from the folder at `path`, and the folder if it is otherwise empty.
/// There must be no living writer.
pub fn clear_folder(path: &Path) {
    sweep(path, &OsString::from(TEMPORARY), Duration::ZERO);
    remove_empty_folder(path);
}

/// Returns whether there is a folder at `path` with nothing but temporary files of killed writers and what is `known`.
pub fn holds_only(path: &Path, known: &BTreeSet<PathBuf>) -> Result<bool, Error> {
    let is_known = |name: &String| name.starts_with(TEMPORARY) || known.contains(&path.join(name));
    Ok(path.is_dir() && names(path)?.iter().all(is_known))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::refused("sync the folder", folder))
}

pub(super) fn gone(result: io::Result<()>, path: &Path) -> Result<bool, Error> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::refused("remove", path)(error)),
        Ok(()) => sync_folder(folder_of(path)).map(|()| true),
    }
}

/// Removes temporary files of killed writers of the same file that are at least this old. Best effort: nothing
/// depends on it.
pub(super) fn sweep(folder: &Path, prefix: &OsString, old: Duration) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let managed = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        let age = || entry.metadata().and_then(|live| live.modified()).ok()?.elapsed().ok();
        if managed && age().is_some_and(|age| age >= old) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
