//! Files and folders: whole writes, bounded reads, and errors that name the path.
//!
//! A write is atomic and durable: a temporary file in the same folder, `fsync`, rename, `fsync` of the folder. This is
//! the only module that writes files for the rest of llamero.

use super::Hint;
use crate::resource::Hasher;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The mode of files that only the user may read.
pub const PRIVATE: u32 = 0o600;

/// How many symbolic links are followed to find the file that a path means.
const LINKS: usize = 16;

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct Error {
    /// What was tried, such as `write`.
    pub operation: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// Returns the error of an operation on a path.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let folder = self.path.parent().unwrap_or(&self.path).display();
        match self.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(format!("make room in {folder}")),
            ErrorKind::ReadOnlyFilesystem => Some(format!("{folder} is on a file system mounted read-only")),
            ErrorKind::PermissionDenied => Some(format!("check who owns {folder} and its mode")),
            _ => None,
        }
    }
}

/// Writes a file whole: whoever reads it sees the old bytes or the new ones. A symbolic link stays one, and what it
/// points to is replaced.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let path = &target(path)?;
    let failed = |error| Error::io("write", path, error);
    let folder = folder_of(path);
    create_folder(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".llamero-").permissions(Permissions::from_mode(mode));
    let mut temporary = builder.tempfile_in(folder).map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    sync_folder(folder)
}

/// Writes a file that must not be there yet; returns whether it was written.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    let failed = |error| Error::io("write", path, error);
    let folder = folder_of(path);
    create_folder(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".llamero-").permissions(Permissions::from_mode(mode));
    let mut temporary = builder.tempfile_in(folder).map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    match temporary.persist_noclobber(path) {
        Ok(_) => sync_folder(folder).map(|()| true),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error.error)),
    }
}

/// Makes a finished file visible under its name, durably.
pub fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("write", to, error);
    File::open(from).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(from, to).map_err(failed)?;
    sync_folder(folder_of(to))
}

/// Reads a text file of at most `limit` bytes; `None` when there is none.
pub fn read(path: &Path, limit: u64) -> Result<Option<String>, Error> {
    let failed = |error| Error::io("read", path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if missing(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > limit {
        let large = io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes"));
        return Err(failed(large));
    }
    Ok(Some(text))
}

/// Returns a file's size in bytes and its time of change in nanoseconds; `None` when there is none.
pub fn stamp(path: &Path) -> Result<Option<(u64, i128)>, Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            use std::os::unix::fs::MetadataExt;
            let time = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
            Ok(Some((metadata.len(), time)))
        }
        Ok(_) => Err(Error::io("read", path, io::Error::new(ErrorKind::IsADirectory, "it is not a file"))),
        Err(error) if missing(&error) => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// Returns the names in a folder, sorted; none when there is no such folder.
pub fn list(folder: &Path) -> Result<Vec<OsString>, Error> {
    let failed = |error| Error::io("list", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names =
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    names.sort();
    Ok(names)
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(folder_of(path)),
        Err(error) if missing(&error) => Ok(()),
        Err(error) => Err(Error::io("remove", path, error)),
    }
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_folder(folder_of(path)),
        Err(error) if missing(&error) => Ok(()),
        Err(error) => Err(Error::io("remove", path, error)),
    }
}

/// Removes a folder if nothing is in it.
pub fn remove_empty_folder(path: &Path) {
    // A folder that is in use is simply kept.
    let _ = fs::remove_dir(path);
}

/// Makes a folder and those above it, each readable by the user alone.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| Error::io("create", path, error))
}

/// Opens the file of a lock, made where it is missing.
pub fn open_lock(path: &Path) -> Result<File, Error> {
    create_folder(folder_of(path))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(path)
        .map_err(|error| Error::io("lock", path, error))
}

/// Opens a file that may not be there, to read it.
#[must_use]
pub fn open_existing(path: &Path) -> Option<File> {
    File::open(path).ok()
}

/// Opens a file in the making to go on at `from`, after feeding what is there to `hasher`; what is behind is cut off.
pub fn open_part(path: &Path, from: u64, hasher: &mut Hasher) -> Result<File, Error> {
    let failed = |error| Error::io("write", path, error);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path);
    let mut file = options.map_err(failed)?;
    file.set_len(from).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(file);
        }
        hasher.update(&buffer[..count]);
    }
}

/// Returns the bytes that the user may still write to the file system of a path that need not exist yet.
#[must_use]
pub fn free_space(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let stats = rustix::fs::statvfs(existing).ok()?;
    Some(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// Returns whether anybody but the user may read a file.
#[must_use]
pub fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::io("sync", folder, error))
}

/// Follows symbolic links to the file that a path means, which need not exist.
fn target(path: &Path) -> Result<PathBuf, Error> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = folder_of(&path).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(Error::io("write", &path, io::Error::new(ErrorKind::InvalidInput, "too many symbolic links")))
}

#[cfg(test)]
mod tests {
    use super::{PRIVATE, list, read, write, write_new};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_write_is_whole_private_and_keeps_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("deep/real.yaml"), folder.path().join("link.yaml"));
        write(&real, b"one", PRIVATE).expect("written");
        symlink("deep/real.yaml", &link).expect("a link");
        write(&link, b"two", PRIVATE).expect("written through the link");
        assert!(link.is_symlink());
        assert_eq!(read(&real, 10).expect("read"), Some("two".to_owned()));
        let mode = std::fs::metadata(&real).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(list(&folder.path().join("deep")).expect("listed").len(), 1, "no temporary file is left");
    }

    #[test]
    fn what_is_there_is_not_overwritten_and_what_is_large_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        assert!(write_new(&path, b"first", PRIVATE).expect("written"));
        assert!(!write_new(&path, b"other", PRIVATE).expect("kept"));
        assert_eq!(read(&path, 5).expect("read"), Some("first".to_owned()));
        assert!(read(&path, 4).expect_err("too large").to_string().contains("cannot read"));
        assert_eq!(read(&folder.path().join("none"), 5).expect("read"), None);
    }
}
