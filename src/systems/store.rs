//! The file system as records use it: whole files, durable writes and an exclusive lock.
//!
//! [`Disk`] is the machine's own. A test that simulates a power cut or a full disk at a chosen write provides
//! another.

use super::files::{self, Error};
use crate::resource::Bytes;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

/// The longest note of a lock's holder, in bytes.
const NOTE: u64 = 64 << 10;

/// The outcome of an attempt to take an exclusive lock.
#[derive(Debug)]
pub enum Locking<L> {
    /// The lock is held until this value is dropped or the process ends.
    Acquired(L),
    /// Another process holds it; this is the note that it left.
    Held(Vec<u8>),
}

/// Whole files below one folder.
pub trait Store {
    /// An exclusive lock, which ends with its holder.
    type Lock: std::fmt::Debug;

    /// Returns the bytes of a file, or `None` where there is none.
    fn read(&self, path: &Path, limit: Bytes) -> Result<Option<Vec<u8>>, Error>;

    /// Replaces a file, atomically and durably: after a crash it holds the old bytes or the new ones. A failure may
    /// leave the new bytes without having synced them.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error>;

    /// Removes a file durably; returns whether there was one.
    fn remove(&self, path: &Path) -> Result<bool, Error>;

    /// Removes a folder with its content; returns whether there was one.
    fn remove_folder(&self, path: &Path) -> Result<bool, Error>;

    /// Returns the names in a folder, sorted; a missing folder is empty.
    fn names(&self, path: &Path) -> Result<Vec<String>, Error>;

    /// Returns a file's size in bytes and its modification time in nanoseconds, or `None` where there is none.
    fn stamp(&self, path: &Path) -> Result<Option<(Bytes, i128)>, Error>;

    /// Takes the exclusive lock on a file and writes `note` into it for a process that finds it held.
    fn lock(&self, path: &Path, note: &[u8]) -> Result<Locking<Self::Lock>, Error>;

    /// Returns the note of the process that holds the lock, if one does.
    fn lock_note(&self, path: &Path) -> Option<Vec<u8>>;

    /// Returns the value that `decode` makes of a file's bytes, or `None` where there is no file. A store may keep the
    /// value and return it for as long as the bytes are the same.
    fn decoded<T: Send + Sync + 'static, E: From<Error>>(
        &self,
        path: &Path,
        limit: Bytes,
        decode: impl FnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, E> {
        self.read(path, limit)?.map(|bytes| decode(bytes).map(Arc::new)).transpose()
    }
}

impl<S: Store> Store for &S {
    type Lock = S::Lock;

    fn read(&self, path: &Path, limit: Bytes) -> Result<Option<Vec<u8>>, Error> {
        S::read(self, path, limit)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        S::write(self, path, bytes)
    }

    fn remove(&self, path: &Path) -> Result<bool, Error> {
        S::remove(self, path)
    }

    fn remove_folder(&self, path: &Path) -> Result<bool, Error> {
        S::remove_folder(self, path)
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, Error> {
        S::names(self, path)
    }

    fn stamp(&self, path: &Path) -> Result<Option<(Bytes, i128)>, Error> {
        S::stamp(self, path)
    }

    fn lock(&self, path: &Path, note: &[u8]) -> Result<Locking<Self::Lock>, Error> {
        S::lock(self, path, note)
    }

    fn lock_note(&self, path: &Path) -> Option<Vec<u8>> {
        S::lock_note(self, path)
    }

    fn decoded<T: Send + Sync + 'static, E: From<Error>>(
        &self,
        path: &Path,
        limit: Bytes,
        decode: impl FnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, E> {
        S::decoded(self, path, limit, decode)
    }
}

/// The file systems of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Store for Disk {
    type Lock = File;

    fn read(&self, path: &Path, limit: Bytes) -> Result<Option<Vec<u8>>, Error> {
        files::read(path, limit)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        files::write(path, bytes, files::PRIVATE)
    }

    fn remove(&self, path: &Path) -> Result<bool, Error> {
        files::remove(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<bool, Error> {
        files::remove_folder(path)
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, Error> {
        files::names(path)
    }

    fn stamp(&self, path: &Path) -> Result<Option<(Bytes, i128)>, Error> {
        files::stamp(path)
    }

    fn lock(&self, path: &Path, note: &[u8]) -> Result<Locking<File>, Error> {
        let mut file = files::open_lock(path)?;
        let io = |error| Error::io("lock", path, error);
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Ok(Locking::Held(read_note(&mut file).unwrap_or_default()));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note)).map_err(io)?;
        Ok(Locking::Acquired(file))
    }

    fn lock_note(&self, path: &Path) -> Option<Vec<u8>> {
        let mut file = files::open_existing(path)?;
        match file.try_lock_shared() {
            Err(std::fs::TryLockError::WouldBlock) => read_note(&mut file),
            _ => None,
        }
    }
}

fn read_note(file: &mut File) -> Option<Vec<u8>> {
    let mut note = Vec::new();
    file.rewind().ok()?;
    file.take(NOTE).read_to_end(&mut note).ok()?;
    Some(note)
}
