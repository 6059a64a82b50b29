//! The stack lock: one writer at a time, held by the kernel for the process, with a note that names the holder.

use super::error::Error;
use super::holder::LockHolder;
use crate::systems::clock;
use crate::systems::store::{Disk, Locking, Store};
use std::path::Path;

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct StackLock<S: Store = Disk> {
    _lock: S::Lock,
}

pub(super) fn take<S: Store>(store: &S, path: &Path, command: &str) -> Result<StackLock<S>, Error> {
    let holder = LockHolder { pid: std::process::id(), command: command.to_owned(), since: clock::now() };
    let note = serde_json::to_vec(&holder).unwrap_or_default();
    match store.lock(path, &note)? {
        Locking::Acquired(lock) => Ok(StackLock { _lock: lock }),
        Locking::Held(note) => {
            let unknown = || LockHolder { pid: 0, command: "unknown".to_owned(), since: "unknown".to_owned() };
            Err(Error::Occupied(serde_json::from_slice(&note).unwrap_or_else(|_| unknown())))
        }
    }
}

pub(super) fn occupant<S: Store>(store: &S, path: &Path) -> Option<LockHolder> {
    serde_json::from_slice(&store.lock_note(path)?).ok()
}
