//! A simulated file system for records: what was not synced may be lost with the power, and a disk may be full.

use crate::world::{Sim, World};
use llamero::resource::Bytes;
use llamero::systems::files::Error;
use llamero::systems::store::{Locking, Store};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A file and its time of change.
type File = (Arc<Content>, i128);

/// The bytes of a file, with the value that was made of them when they were first read.
#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    decoded: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

/// What is visible, and what is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Files {
    visible: BTreeMap<PathBuf, File>,
    durable: BTreeMap<PathBuf, File>,
    /// Counts writes, for faults.
    pub(crate) writes: u32,
    locked: BTreeMap<PathBuf, (usize, Vec<u8>)>,
    changes: i128,
}

impl Files {
    /// Loses the power: each change that was not synced is there or is not, as `coin` says.
    pub(crate) fn lose_power(&mut self, mut coin: impl FnMut() -> bool) {
        let mut after = self.durable.clone();
        let paths: Vec<PathBuf> = self.visible.keys().chain(self.durable.keys()).cloned().collect();
        for path in paths {
            if self.visible.get(&path) != self.durable.get(&path) && coin() {
                match self.visible.get(&path) {
                    Some(file) => drop(after.insert(path, file.clone())),
                    None => drop(after.remove(&path)),
                }
            }
        }
        self.durable.clone_from(&after);
        self.visible = after;
        self.locked.clear();
    }

    pub(crate) fn unlock(&mut self, pid: usize) {
        self.locked.retain(|_, (holder, _)| *holder != pid);
    }

    pub(crate) fn is_locked_by(&self, pid: usize) -> bool {
        self.locked.values().any(|(holder, _)| *holder == pid)
    }

    pub(crate) fn touch(&mut self, path: &Path) {
        self.changes += 1;
        let changes = self.changes;
        if let Some(file) = self.visible.get_mut(path) {
            file.1 = changes;
        }
    }
}

/// The disk as one process uses it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(pub(crate) World);

/// A lock that its process holds.
#[derive(Debug)]
pub(crate) struct Lock(World);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.sim().files.unlock(self.0.pid);
    }
}

/// What becomes of a write.
enum Write {
    Whole,
    /// Nothing of it is there.
    Full,
    /// It is there, and has not reached the disk.
    Unsynced,
}

fn refused(operation: &'static str, path: &Path, kind: io::ErrorKind) -> Error {
    Error::io(operation, path, io::Error::from(kind))
}

impl Disk {
    /// Enters an operation: a process that was killed does nothing any more.
    fn enter(&self, operation: &'static str, path: &Path) -> Result<std::sync::MutexGuard<'_, Sim>, Error> {
        if self.0.is_gone() {
            return Err(refused(operation, path, io::ErrorKind::Interrupted));
        }
        Ok(self.0.sim())
    }

    fn change(&self, operation: &'static str, path: &Path, file: Option<&[u8]>) -> Result<bool, Error> {
        let killed = || Err(refused(operation, path, io::ErrorKind::Interrupted));
        if self.0.tick(operation) {
            return killed();
        }
        let existed = {
            let mut sim = self.0.sim();
            sim.files.writes += 1;
            let fault = if file.is_some() { sim.write_fault() } else { Write::Whole };
            sim.note(self.0.pid, format_args!("{operation} {}", path.display()));
            if matches!(fault, Write::Full) {
                return Err(refused(operation, path, io::ErrorKind::StorageFull));
            }
            sim.files.changes += 1;
            let changes = sim.files.changes;
            let existed = match file {
                Some(bytes) => {
                    let same = sim.files.visible.get(path).filter(|(content, _)| content.bytes == bytes);
                    let content = same.map_or_else(
                        || Arc::new(Content { bytes: bytes.to_vec(), decoded: OnceLock::new() }),
                        |(content, _)| Arc::clone(content),
                    );
                    sim.files.visible.insert(path.to_owned(), (content, changes)).is_some()
                }
                None => sim.files.visible.remove(path).is_some(),
            };
            if matches!(fault, Write::Unsynced) {
                return Err(refused("sync the folder", path, io::ErrorKind::Other));
            }
            match sim.files.visible.get(path).cloned() {
                Some(file) => drop(sim.files.durable.insert(path.to_owned(), file)),
                None => drop(sim.files.durable.remove(path)),
            }
            existed
        };
        // It may be killed between the effect and what it does next.
        if self.0.tick(operation) { killed() } else { Ok(existed) }
    }
}

impl Sim {
    fn write_fault(&mut self) -> Write {
        let write = self.files.writes;
        match self.full {
            Some((from, to, false)) if (from..to).contains(&write) => Write::Full,
            Some((from, to, true)) if (from..to).contains(&write) => Write::Unsynced,
            _ => Write::Whole,
        }
    }
}

impl Store for Disk {
    type Lock = Lock;

    fn read(&self, path: &Path, _: Bytes) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.enter("read", path)?.files.visible.get(path).map(|(content, _)| content.bytes.clone()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.change("write", path, Some(bytes)).map(drop)
    }

    fn remove(&self, path: &Path) -> Result<bool, Error> {
        if !self.enter("look at", path)?.files.visible.contains_key(path) {
            return Ok(false);
        }
        self.change("remove", path, None)
    }

    fn remove_folder(&self, path: &Path) -> Result<bool, Error> {
        let inside: Vec<PathBuf> = {
            let sim = self.enter("list", path)?;
            sim.files.visible.keys().filter(|file| file.starts_with(path)).cloned().collect()
        };
        for file in &inside {
            self.change("remove", file, None)?;
        }
        Ok(!inside.is_empty())
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, Error> {
        let sim = self.enter("list", path)?;
        let names = sim.files.visible.keys().filter_map(|file| {
            let first = file.strip_prefix(path).ok()?.components().next()?;
            Some(first.as_os_str().to_string_lossy().into_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn stamp(&self, path: &Path) -> Result<Option<(Bytes, i128)>, Error> {
        let sim = self.enter("look at", path)?;
        Ok(sim.files.visible.get(path).map(|(content, changed)| (Bytes(content.bytes.len() as u64), *changed)))
    }

    fn lock(&self, path: &Path, note: &[u8]) -> Result<Locking<Lock>, Error> {
        let mut sim = self.enter("lock", path)?;
        if let Some((_, note)) = sim.files.locked.get(path) {
            return Ok(Locking::Held(note.clone()));
        }
        sim.files.locked.insert(path.to_owned(), (self.0.pid, note.to_vec()));
        sim.note(self.0.pid, format_args!("lock"));
        Ok(Locking::Acquired(Lock(self.0.clone())))
    }

    fn lock_note(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.sim().files.locked.get(path).map(|(_, note)| note.clone())
    }

    fn decoded<T: Send + Sync + 'static, E: From<Error>>(
        &self,
        path: &Path,
        _: Bytes,
        decode: impl FnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, E> {
        let file = self.enter("read", path)?.files.visible.get(path).cloned();
        let Some((content, _)) = file else { return Ok(None) };
        let known = content.decoded.get().and_then(|value| Arc::clone(value).downcast().ok());
        if known.is_some() {
            return Ok(known);
        }
        let value = Arc::new(decode(content.bytes.clone())?);
        content.decoded.get_or_init(|| value.clone());
        Ok(Some(value))
    }
}
