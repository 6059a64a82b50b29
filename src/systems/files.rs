//! Files of the machine: written completely or not at all, read within a limit, and removed durably.
//!
//! Every failure names the path and the operation. The meaning of a file is defined elsewhere.

use super::Hint;
use crate::resource::Bytes;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{Builder, NamedTempFile};

/// The mode of a file that only its owner may read.
pub const PRIVATE: u32 = 0o600;

/// A half-written file of this age has no living writer.
const LITTER: Duration = Duration::from_secs(3600);
const TEMPORARY: &str = ".llamero-new-";

/// A failure to read or change a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Refused {
        /// The operation that failed, as a verb.
        operation: &'static str,
        /// The path it failed on.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The path is occupied by something other than a regular file, which is not replaced.
    #[error("cannot replace {}: it is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file exceeds the size limit.
    #[error("{} is larger than {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size accepted.
        limit: Bytes,
    },
    /// The text is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    pub(super) fn refused(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Refused { operation, path: path.to_owned(), source }
    }

    /// Returns the failure of an operation, as a verb, on a path.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Refused { operation, path: path.to_owned(), source }
    }

    /// Returns the path concerned.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Refused { path, .. }
            | Self::NotAFile { path }
            | Self::TooLarge { path, .. }
            | Self::NotText { path } => path,
        }
    }

    /// Returns whether it failed because the file exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.kind() == ErrorKind::AlreadyExists)
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let (path, source) = match self {
            Self::Refused { path, source, .. } => (path, source),
            Self::NotAFile { path } => return Some(format!("see `ls -ld {}`, and move it away", path.display())),
            Self::TooLarge { .. } | Self::NotText { .. } => return None,
        };
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Some(format!("free some space on the file system of {} and retry", path.display()))
            }
            ErrorKind::ReadOnlyFilesystem => Some("its file system is mounted read-only; mount it writable".to_owned()),
            ErrorKind::PermissionDenied => {
                Some(format!("give the user who runs llamero access; see `ls -ld {}`", path.display()))
            }
            _ => None,
        }
    }
}

/// Replaces the file at `path` durably: a reader, also after a crash, sees the old bytes or the new ones. Where
/// `path` is a symbolic link, the link stays and its target is replaced, because users link configuration files to
/// another folder. A device, a pipe or a folder is never replaced.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let path = target(path)?;
    check_replaceable(&path)?;
    let file = prepare(&path, bytes, mode)?;
    file.persist(&path).map_err(|error| Error::refused("replace", &path)(error.error))?;
    sync_folder(folder_of(&path))
}

/// Fails where `path` is something other than a regular file or a link: rename(2) itself replaces everything but
/// folders, including devices and pipes.
pub(super) fn check_replaceable(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::refused("inspect", path)(error)),
        Ok(live) if live.is_file() || live.is_symlink() => Ok(()),
        Ok(_) => Err(Error::NotAFile { path: path.to_owned() }),
    }
}

/// Creates a new file as [`write()`] does; fails when anything, even a dangling link, exists.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let file = prepare(path, bytes, mode)?;
    file.persist_noclobber(path).map_err(|error| Error::refused("create", path)(error.error))?;
    sync_folder(folder_of(path))
}

/// Makes `path` a symbolic link to `target`, durably; an existing link or file is replaced atomically.
pub fn link(path: &Path, target: &Path) -> Result<(), Error> {
    let folder = folder_of(path);
    check_replaceable(path)?;
    create_folder(folder)?;
    let prefix = temporary(path);
    sweep(folder, &prefix, LITTER);
    let made = Builder::new().prefix(&prefix).make_in(folder, |new| symlink(target, new));
    let link = made.map_err(Error::refused("write into", folder))?;
    link.persist(path).map_err(|error| Error::refused("replace", path)(error.error))?;
    sync_folder(folder)
}

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
pub(super) fn owner(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.uid())
}

/// Returns whether only this user and root can create entries in the folder at `path`.
pub(super) fn is_written_by_this_user_alone(path: &Path) -> bool {
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

/// Sets the modification time of the file at `path` to now, which needs no disk space.
pub fn touch(path: &Path) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::refused("open", path))?;
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(&file, &times).map_err(|error| Error::refused("touch", path)(error.into()))
}

/// Opens the file at `path` for locking; creates it if it is missing.
pub fn open_lock(path: &Path) -> Result<File, Error> {
    create_folder(folder_of(path))?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path);
    options.map_err(Error::refused("open", path))
}

/// Opens the file at `path` to read it, if it can be.
#[must_use]
pub fn open_existing(path: &Path) -> Option<File> {
    File::open(path).ok()
}

/// Renames the file at `path` to a new name beside it that marks it as damaged, durably, and returns that name.
/// Nothing is replaced.
pub fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let mut number = 1;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".damaged".to_owned() } else { format!(".damaged-{number}") });
        let aside = PathBuf::from(name);
        match rustix::fs::renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => number += 1,
            moved => {
                moved.map_err(|error| Error::refused("move aside", path)(error.into()))?;
                sync_folder(folder_of(path))?;
                return Ok(aside);
            }
        }
    }
}

/// Removes the folder at `path` if it is empty.
pub fn remove_empty_folder(path: &Path) {
    // A folder in use stays.
    let _ = fs::remove_dir(path);
}

/// Removes the file or link at `path` durably; returns whether there was one. The target of a link stays.
///
/// Temporary files of killed writers go too: the caller knows of no other writer.
pub fn remove(path: &Path) -> Result<bool, Error> {
    sweep(folder_of(path), &temporary(path), Duration::ZERO);
    gone(fs::remove_file(path), path)
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

/// Removes the folder at `path` with its content, durably; returns whether there was one.
pub fn remove_folder(path: &Path) -> Result<bool, Error> {
    gone(fs::remove_dir_all(path), path)
}

fn gone(result: io::Result<()>, path: &Path) -> Result<bool, Error> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::refused("remove", path)(error)),
        Ok(()) => sync_folder(folder_of(path)).map(|()| true),
    }
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

/// Syncs the entries of the folder at `path`, and its own entry, after another program created them. The folder may
/// be missing.
pub fn sync(path: &Path) -> Result<(), Error> {
    if !path.is_dir() {
        return Ok(());
    }
    sync_folder(path)?;
    sync_folder(folder_of(path))
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

/// Follows the links at the end of `path`; the last target may be missing.
fn target(path: &Path) -> Result<PathBuf, Error> {
    let mut path = path.to_owned();
    // Linux follows as many: path_resolution(7).
    for _ in 0..40 {
        match fs::symlink_metadata(&path) {
            Ok(live) if live.is_symlink() => {
                let link = fs::read_link(&path).map_err(Error::refused("follow", &path))?;
                path = folder_of(&path).join(link);
            }
            _ => return Ok(path),
        }
    }
    let source = io::Error::from(Errno::LOOP);
    Err(Error::refused("follow", &path)(source))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn prepare(path: &Path, bytes: &[u8], mode: u32) -> Result<NamedTempFile, Error> {
    let folder = folder_of(path);
    create_folder(folder)?;
    let prefix = temporary(path);
    sweep(folder, &prefix, LITTER);
    let mut file = Builder::new().prefix(&prefix).tempfile_in(folder).map_err(Error::refused("write into", folder))?;
    let permissions = fs::Permissions::from_mode(mode);
    file.as_file().set_permissions(permissions).map_err(Error::refused("set the mode of", path))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::refused("write", path))?;
    Ok(file)
}

/// Returns the prefix of the temporary files that are to replace `path`.
fn temporary(path: &Path) -> OsString {
    let mut prefix = OsString::from(TEMPORARY);
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push("-");
    prefix
}

/// Removes temporary files of killed writers of the same file that are at least this old. Best effort: nothing
/// depends on it.
fn sweep(folder: &Path, prefix: &OsString, old: Duration) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let managed = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        let age = || entry.metadata().and_then(|live| live.modified()).ok()?.elapsed().ok();
        if managed && age().is_some_and(|age| age >= old) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::refused("sync the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::{
        Error, Hint, PRIVATE, create, free, link, link_target, mode, names, read, read_text, remove, target, write,
    };
    use crate::resource::Bytes;
    use std::fs::{self, File, FileTimes};
    use std::io;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    const LIMIT: Bytes = Bytes(100);

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("dotfiles")).expect("a folder");
        symlink("dotfiles/config", at("middle")).expect("a link");
        symlink(at("middle"), at("config")).expect("a link");
        for text in ["dangling at first", "there later"] {
            write(&at("config"), text.as_bytes(), 0o640).expect("written");
            assert!(at("config").is_symlink() && at("middle").is_symlink());
            assert_eq!(read_text(&at("dotfiles/config"), LIMIT).expect("read").as_deref(), Some(text));
            assert_eq!(mode(&at("config")).expect("a mode"), Some(0o640));
        }
        assert_eq!(names(&at("dotfiles")).expect("names"), ["config"]);
        symlink("loop", at("loop")).expect("a link");
        assert!(matches!(target(&at("loop")), Err(Error::Refused { operation: "follow", .. })));
    }

    #[test]
    fn a_link_is_replaced_atomically() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"x").expect("written");
        for target in ["one", "two"] {
            link(&at("new/link"), Path::new(target)).expect("linked");
            assert_eq!(link_target(&at("new/link")).expect("read").as_deref(), Some(Path::new(target)));
        }
        assert_eq!(names(&at("new")).expect("names"), ["link"]);
        assert_eq!(link_target(&at("file")).expect("no link"), None);
        assert_eq!(link_target(&at("nothing")).expect("no link"), None);
        link(&at("file"), Path::new("three")).expect("linked");
        assert!(at("file").is_symlink());
        assert!(link(&at("new"), Path::new("four")).is_err(), "a folder stays");
    }

    #[test]
    fn only_a_file_or_a_link_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("folder")).expect("a folder");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).expect("a pipe");
        symlink("pipe", at("to-pipe")).expect("a link");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        let before = names(folder.path()).expect("names");
        for name in ["folder", "pipe", "to-pipe", "socket"] {
            let error = write(&at(name), b"x", PRIVATE).expect_err(name);
            assert!(matches!(error, Error::NotAFile { .. }) && error.hint().is_some(), "{name}: {error}");
        }
        for name in ["folder", "pipe", "socket"] {
            assert!(matches!(link(&at(name), Path::new("x")), Err(Error::NotAFile { .. })), "{name}");
        }
        assert_eq!(names(folder.path()).expect("names"), before);
        assert!(at("folder").is_dir() && !at("pipe").is_file() && !at("socket").is_file());
    }

    #[test]
    fn folders_are_private_and_create_never_replaces_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/file");
        create(&path, b"one", PRIVATE).expect("created");
        assert_eq!(mode(&folder.path().join("a")).expect("a mode"), Some(0o700));
        assert!(create(&path, b"two", PRIVATE).expect_err("it is there").exists());
        assert_eq!(read(&path, LIMIT).expect("read").as_deref(), Some(b"one".as_slice()));
        assert!(remove(&path).expect("removed") && !remove(&path).expect("nothing to remove"));
        assert_eq!(read(&path, LIMIT).expect("read"), None);
    }

    #[test]
    fn reading_anything_but_a_small_regular_file_fails_without_blocking() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("a pipe");
        assert!(read(&pipe, LIMIT).is_err());
        assert!(read(folder.path(), LIMIT).is_err());
        assert!(matches!(read(Path::new("/proc/self/maps"), LIMIT), Err(Error::TooLarge { .. })));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file is made to look old")]
    fn only_old_temporary_files_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let litter = |name: &str, age: u64| {
            let file = File::create(folder.path().join(name)).expect("a file");
            let modified = SystemTime::now() - Duration::from_secs(age);
            file.set_times(FileTimes::new().set_modified(modified)).expect("set");
        };
        litter(".llamero-new-file-old", 7200);
        litter(".llamero-new-file-young", 60);
        litter(".llamero-new-other-old", 7200);
        write(&path, b"x", PRIVATE).expect("written");
        let left = || names(folder.path()).expect("names");
        assert_eq!(left(), [".llamero-new-file-young", ".llamero-new-other-old", "file"]);
        // Removing a file removes its temporary files.
        assert!(remove(&path).expect("removed"));
        assert_eq!(left(), [".llamero-new-other-old"]);
        super::clear_folder(folder.path());
        assert!(!folder.path().exists());
    }

    #[test]
    fn errors_name_the_path_and_hint_at_a_remedy() {
        let error = write(Path::new("/proc/llamero/x"), b"", PRIVATE).expect_err("no such place");
        assert_eq!(error.to_string(), "cannot create the folder /proc/llamero");
        for (code, word) in [(28, "space"), (30, "read-only"), (13, "ls -ld /x")] {
            let error = Error::refused("write", Path::new("/x"))(io::Error::from_raw_os_error(code));
            assert!(error.hint().is_some_and(|hint| hint.contains(word)), "{code}");
        }
        assert!(free(Path::new("/tmp/not/there")).expect("measured").0 > 0);
    }
}
