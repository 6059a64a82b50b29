//! One writer at a time: an advisory lock on a file that also says who holds it.

use super::Error;
use crate::systems::{clock, files};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// The longest note of an occupant that is read, in bytes.
const LIMIT: u64 = 64 << 10;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its process.
    pub pid: u32,
    /// What it was called with.
    pub command: String,
    /// When it took the lock.
    pub since: String,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}, `{}`, since {}", self.pid, self.command, self.since)
    }
}

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct StackLock {
    _file: File,
}

pub(super) fn take(path: &Path, command: &str) -> Result<StackLock, Error> {
    let mut file = files::open_lock(path)?;
    let io = |error| files::Error::io("lock", path, error);
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let unknown = LockHolder { pid: 0, command: "unknown".to_owned(), since: "unknown".to_owned() };
            return Err(Error::Occupied(note(&mut file).unwrap_or(unknown)));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(io(error).into()),
    }
    let occupant = LockHolder { pid: std::process::id(), command: command.to_owned(), since: clock::now() };
    let text = serde_json::to_vec(&occupant).unwrap_or_default();
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text)).map_err(io)?;
    Ok(StackLock { _file: file })
}

pub(super) fn occupant(path: &Path) -> Option<LockHolder> {
    let mut file = files::open_existing(path)?;
    match file.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => note(&mut file),
        _ => None,
    }
}

fn note(file: &mut File) -> Option<LockHolder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(LIMIT).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
