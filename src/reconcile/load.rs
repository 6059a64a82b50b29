//! Manifests from disk, with their lock files, resolved to revisions.

use super::{Coverage, Error, Notice, Notify};
use crate::history::Revision;
use crate::lockfile::{self, LockFile};
use crate::manifest::{self, Manifest};
use crate::observe::{directories, facts};
use crate::pace::Attempt;
use crate::resolve::{self, Desired, Directories, Facts, UnknownSecret, questions};
use crate::resource::{Bytes, Digest, Note, ResourceId, SecretReference};
use crate::systems::{clock, files};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A valid manifest and its lock file.
#[derive(Debug, Clone)]
pub struct LoadedManifest {
    /// The manifest's file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The user's directories, as seen from the manifest's.
    pub directories: Directories,
    /// The path of the lock file, which may be missing.
    pub lock_path: PathBuf,
    /// The lock file, where there is one.
    pub lock: Option<LockFile>,
    lock_digest: Option<Digest>,
}

impl LoadedManifest {
    /// Reads the manifest at `path`, or the default one: `llamero.yaml` in the working directory, then in llamero's
    /// configuration directory.
    pub fn open(path: Option<&Path>, notify: &Notify<'_>) -> Result<Self, Error> {
        match path {
            Some(path) => Self::read(path, notify),
            None => Self::read(&default_path()?, notify),
        }
    }

    /// Reads the manifest in a file.
    pub fn read(path: &Path, notify: &Notify<'_>) -> Result<Self, Error> {
        let text = files::read_text(path, Bytes(manifest::LIMIT as u64))?;
        Self::parse(path, text.ok_or_else(|| Error::NoFile(path.to_owned()))?, notify)
    }

    /// Reads a manifest's text as if it stood in the file at `path`, with the lock file that lies beside that.
    pub fn parse(path: &Path, text: String, notify: &Notify<'_>) -> Result<Self, Error> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if absolute.to_str().is_none() {
            return Err(Error::NotUtf8(absolute));
        }
        let (manifest, notes) = manifest::read(&text);
        report(path, &text, &notes, notify);
        let manifest = manifest.ok_or_else(|| invalid(path, &notes))?;
        let directories = directories(absolute.parent().unwrap_or(Path::new("/")));
        let lock_path = path.with_extension("lock");
        if lock_path == path {
            return Err(Error::OwnLockFile(lock_path));
        }
        let (lock, lock_digest) = lock_file(&lock_path)?.unzip();
        Ok(Self { path: path.to_owned(), text, manifest, directories, lock_path, lock, lock_digest })
    }

    /// Returns what applying it attempts.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt { manifest: Digest::of(&self.text), lock: self.lock_digest.clone() }
    }

    /// Returns how far the lock file covers the manifest.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let lock = self.lock.clone().unwrap_or_default();
        Coverage {
            path: self.lock_path.clone(),
            exists: self.lock.is_some(),
            missing: lock.missing(&self.manifest).into_iter().map(|source| source.key).collect(),
            unused: lock.unused(&self.manifest),
        }
    }

    /// Reports everything that is wrong with the manifest on every machine. Queries no machine.
    pub fn check(&self, notify: &Notify<'_>) -> Result<(), Error> {
        let lock = self.lock.clone().unwrap_or_default();
        self.report(resolve::check(&self.manifest, &lock, self.directories.clone()), notify)
    }

    /// Finds out what has to be known of this machine to resolve the manifest.
    pub async fn facts(&self) -> Facts {
        facts(&questions(&self.manifest, &self.directories), self.directories.clone()).await
    }

    /// Resolves the manifest on this machine. A secret that cannot be read is unknown, and a warning.
    pub async fn resolve(&self, notify: &Notify<'_>) -> Result<Revision, Error> {
        self.resolve_with(None, notify).await
    }

    /// Reports the secrets whose values are unknown: those that are needed are errors.
    pub(super) fn report_unknown(
        &self,
        desired: &Desired,
        needed: &BTreeMap<SecretReference, ResourceId>,
        notify: &Notify<'_>,
    ) -> Result<(), Error> {
        self.report(unknown(desired, needed).collect(), notify)
    }

    async fn resolved(&self, notify: &Notify<'_>) -> Result<Revision, Error> {
        let lock = self.lock.clone().unwrap_or_default();
        let (desired, mut notes) = resolve::resolve(&self.manifest, &lock, &self.facts().await);
        if notes.iter().any(|(note, ..)| note.is_error()) {
            notes.extend(unknown(&desired, &BTreeMap::new()));
        }
        self.report(notes, notify)?;
        Ok(Revision {
            begun: clock::now(),
            llamero: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()),
            manifest_digest: Digest::of(&self.text),
            lock_digest: self.lock_digest.clone(),
            manifest_text: self.text.clone(),
            origin: None,
            desired,
            orphans: Vec::new(),
            changes: Vec::new(),
        })
    }

    fn report(&self, notes: Vec<(Note, String, Range<usize>)>, notify: &Notify<'_>) -> Result<(), Error> {
        let place = |(note, keys, span): (Note, String, _)| note.at(manifest::locate(&self.text, &keys, span));
        let notes: Vec<Note> = notes.into_iter().map(place).collect();
        report(&self.path, &self.text, &notes, notify);
        if notes.iter().any(Note::is_error) { Err(invalid(&self.path, &notes)) } else { Ok(()) }
    }

    /// Resolves the manifest, and has the route of one model change first if `canary` names one.
    pub async fn resolve_with(&self, canary: Option<&str>, notify: &Notify<'_>) -> Result<Revision, Error> {
        let revision = self.resolve_quietly(canary, notify).await?;
        self.report_unknown(&revision.desired, &BTreeMap::new(), notify)?;
        Ok(revision)
    }

    /// Resolves the manifest as [`Self::resolve_with`] does, and leaves it to the caller to report unknown secrets.
    pub(super) async fn resolve_quietly(&self, canary: Option<&str>, notify: &Notify<'_>) -> Result<Revision, Error> {
        let mut revision = self.resolved(notify).await?;
        let Some(model) = canary else { return Ok(revision) };
        let (path, manifest) = (self.path.clone(), &self.manifest);
        if manifest.gateway.is_none() {
            return Err(Error::NoGateway(path));
        }
        let known = || -> Vec<&str> { manifest.models.iter().map(|model| model.name.value.as_str()).collect() };
        let canary = resolve::canary(manifest, model).ok_or_else(|| Error::NoModel {
            model: model.to_owned(),
            path,
            hint: manifest::suggest(model, &known(), "there are"),
        })?;
        revision.desired.canary = Some(canary);
        Ok(revision)
    }
}

/// Returns the notes about secrets whose values are unknown, with their places.
fn unknown<'a>(
    desired: &'a Desired,
    needed: &'a BTreeMap<SecretReference, ResourceId>,
) -> impl Iterator<Item = (Note, String, Range<usize>)> {
    let note = |(reference, secret): (&SecretReference, &UnknownSecret)| {
        (secret.note(needed.get(reference)), secret.path.to_string(), secret.span.clone())
    };
    desired.unknown.iter().map(note)
}

/// Returns the path of the manifest that is meant where none is named.
pub fn default_path() -> Result<PathBuf, Error> {
    let configured = directories(Path::new("/")).config.join("llamero").join("llamero.yaml");
    let candidates = [PathBuf::from("llamero.yaml"), configured.clone()];
    candidates.into_iter().find(|path| path.is_file()).ok_or(Error::NoManifest(configured))
}

fn lock_file(path: &Path) -> Result<Option<(LockFile, Digest)>, Error> {
    let Some(text) = files::read_text(path, Bytes(lockfile::LIMIT as u64))? else { return Ok(None) };
    let damaged = |why| Error::DamagedLockFile { path: path.to_owned(), why };
    LockFile::parse(&text).map(|lock| Some((lock, Digest::of(&text)))).map_err(damaged)
}

fn report(path: &Path, text: &str, notes: &[Note], notify: &Notify<'_>) {
    if !notes.is_empty() {
        notify(Notice::Notes { path, text, notes });
    }
}

fn invalid(path: &Path, notes: &[Note]) -> Error {
    Error::Invalid { path: path.to_owned(), errors: notes.iter().filter(|note| note.is_error()).count() }
}
