//! Files and links, read within a limit.

use super::error::Error;
use crate::resource::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Returns the target of the symbolic link at `path`, or `None` where there is no link.
pub fn link_target(path: &Path) -> Result<Option<PathBuf>, Error> {
    match fs::read_link(path) {
        // EINVAL means that it is no link: readlink(2).
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        target => target.map(Some).map_err(Error::refused("follow", path)),
    }
}

/// Returns the bytes of a regular file, or `None` where there is none.
pub fn read(path: &Path, limit: Bytes) -> Result<Option<Vec<u8>>, Error> {
    // Without O_NONBLOCK, opening a named pipe waits for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        file => file.map_err(Error::refused("open", path))?,
    };
    if !file.metadata().map_err(Error::refused("inspect", path))?.is_file() {
        let source = io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        return Err(Error::refused("read", path)(source));
    }
    let mut bytes = Vec::new();
    file.take(limit.0.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::refused("read", path))?;
    if bytes.len() as u64 > limit.0 {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(bytes))
}

/// Returns the text of a regular file, or `None` where there is none.
pub fn read_text(path: &Path, limit: Bytes) -> Result<Option<String>, Error> {
    let Some(bytes) = read(path, limit)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| Error::NotText { path: path.to_owned() })
}

/// Returns the permission bits of the file at `path`, links followed, or `None` where there is none.
pub fn mode(path: &Path) -> Result<Option<u32>, Error> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        live => live.map_err(Error::refused("inspect", path)).map(|live| Some(live.permissions().mode() & 0o7777)),
    }
}

/// Returns the user id of the owner of `path`, where it can be read.
#[must_use]
pub(in crate::systems) fn owner(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.uid())
}

/// Returns whether only this user and root can create entries in the folder at `path`.
pub(in crate::systems) fn is_written_by_this_user_alone(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0)
}

/// Returns the size in bytes and the modification time in nanoseconds since 1970 of the regular file at `path`, or
/// `None` where there is none.
pub fn stamp(path: &Path) -> Result<Option<(Bytes, i128)>, Error> {
    let live = match fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        live => live.map_err(Error::refused("inspect", path))?,
    };
    if !live.is_file() {
        let source = io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        return Err(Error::refused("read", path)(source));
    }
    let time = i128::from(live.mtime()) * 1_000_000_000 + i128::from(live.mtime_nsec());
    Ok(Some((Bytes(live.len()), time)))
}

/// Returns the names in the folder at `path`, sorted; a missing folder is empty, and names that are not UTF-8 are
/// skipped because llamero creates none.
pub fn names(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::refused("list", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::refused("list", path))?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Returns the bytes that an unprivileged user may still write on the file system that holds `path`, or would hold
/// it.
pub fn free(path: &Path) -> Result<Bytes, Error> {
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let live = rustix::fs::statvfs(existing).map_err(|error| Error::refused("measure", existing)(error.into()))?;
    Ok(Bytes(live.f_bavail.saturating_mul(live.f_frsize)))
}

/// Returns cryptographically random bytes.
pub fn random<const COUNT: usize>() -> Result<[u8; COUNT], Error> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; COUNT];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(Error::refused("read", source))?;
    Ok(bytes)
}
