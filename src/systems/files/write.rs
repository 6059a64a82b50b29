//! Files, written completely or not at all.

use super::error::Error;
use super::folder::{TEMPORARY, create_folder, folder_of, gone, sweep, sync_folder};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{Builder, NamedTempFile};

/// The mode of a file that only its owner may read.
pub const PRIVATE: u32 = 0o600;

/// A half-written file of this age has no living writer.
const LITTER: Duration = Duration::from_secs(3600);

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
pub(in crate::systems) fn check_replaceable(path: &Path) -> Result<(), Error> {
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

/// Removes the file or link at `path` durably; returns whether there was one. The target of a link stays.
///
/// Temporary files of killed writers go too: the caller knows of no other writer.
pub fn remove(path: &Path) -> Result<bool, Error> {
    sweep(folder_of(path), &temporary(path), Duration::ZERO);
    gone(fs::remove_file(path), path)
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

#[cfg(test)]
mod tests {
    use super::super::folder::clear_folder;
    use super::super::read::{free, link_target, mode, names, read, read_text};
    use super::{Error, PRIVATE, create, link, remove, target, write};
    use crate::resource::Bytes;
    use crate::systems::Hint;
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
        clear_folder(folder.path());
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
