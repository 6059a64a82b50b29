//! The lock file: what it pins, what its sources lead to now, and how one becomes the other.

use super::{Error, LoadedManifest};
use crate::apply::{Event, Report};
use crate::lockfile::{LIMIT, LockFile, Pin, Source, sources};
use crate::observe::{self, Upstream};
use crate::resource::{Bytes, Digest};
use crate::systems::downloads::Progress;
use crate::systems::http::Client;
use crate::systems::output::{Format, Output};
use futures_util::future::join_all;
use futures_util::stream::{StreamExt as _, iter};
use serde::Serialize;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// The number of sources queried concurrently.
const AT_ONCE: usize = 8;

/// The lock file. Everyone may read it: it goes into git.
const FORMAT: Format =
    Format { name: "a lock file", recognizes: LockFile::recognizes, limit: Bytes(LIMIT as u64), mode: 0o644 };

/// A change of one pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// A source is pinned that was not.
    Added(String, Pin),
    /// A source is pinned to other content than before.
    Moved(String, Pin, Digest),
    /// A source that the manifest no longer has is no longer pinned.
    Removed(String),
}

/// The result of an update of a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFileUpdate {
    /// The lock file.
    pub path: PathBuf,
    /// The changes; without any it was not written.
    pub changes: Vec<PinChange>,
    /// The number of sources pinned now.
    pub pins: usize,
}

/// The state of a source compared with the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// It leads to what the lock file pins.
    Current,
    /// It leads to other content.
    Moved,
    /// The lock file does not pin it.
    NotLocked,
    /// It is not known where it leads to.
    Unknown,
}

/// A source of a manifest beside the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// The source.
    pub source: String,
    /// The models, and the parts that run in containers, that use it.
    pub parts: Vec<String>,
    /// Its state.
    pub state: SourceState,
    /// The content that the lock file pins.
    pub locked: Option<Digest>,
    /// The content that it leads to now.
    pub now: Option<Digest>,
    /// The bytes of that not on this machine.
    pub to_fetch: Option<u64>,
    /// The reason why its content is unknown.
    pub why: Option<String>,
}

/// Pins every source that is not pinned yet, and removes pins of sources that the manifest no longer has.
pub async fn lock(loaded: &LoadedManifest, report: &Report<'_>) -> Result<LockFileUpdate, Error> {
    let output = Output::open(&loaded.lock_path, FORMAT).await?;
    let before = loaded.lock.clone().unwrap_or_default();
    let unused = before.unused(&loaded.manifest);
    let mut lock = before.clone();
    lock.pins.retain(|key, _| !unused.contains(key));
    let mut changes = Vec::new();
    for (source, pin) in pins(loaded, before.missing(&loaded.manifest), report).await? {
        lock.pins.insert(source.key.clone(), pin.clone());
        changes.push(PinChange::Added(source.key, pin));
    }
    changes.extend(unused.into_iter().map(PinChange::Removed));
    if loaded.lock.as_ref() != Some(&lock) {
        output.write(&lock.text())?;
    }
    Ok(LockFileUpdate { path: loaded.lock_path.clone(), changes, pins: lock.pins.len() })
}

/// Pins the sources of the named parts, or all, to what they lead to now.
pub async fn update(loaded: &LoadedManifest, names: &[String], report: &Report<'_>) -> Result<LockFileUpdate, Error> {
    let all = sources(&loaded.manifest);
    if let Some(name) = names.iter().find(|name| !all.iter().any(|source| source.parts.contains(name))) {
        let known = all.iter().flat_map(|source| &source.parts).cloned().collect();
        return Err(Error::NoSource { name: name.clone(), known });
    }
    let output = Output::open(&loaded.lock_path, FORMAT).await?;
    let named = |source: &Source| names.is_empty() || source.parts.iter().any(|part| names.contains(part));
    let chosen = all.into_iter().filter(named).collect();
    let mut lock = loaded.lock.clone().unwrap_or_default();
    let mut changes = Vec::new();
    for (source, pin) in pins(loaded, chosen, report).await? {
        match lock.pins.insert(source.key.clone(), pin.clone()) {
            // The repository may have moved on without changing this file: the pin stays.
            Some(known) if known.sha256 == pin.sha256 => drop(lock.pins.insert(source.key, known)),
            Some(known) => changes.push(PinChange::Moved(source.key, pin, known.sha256)),
            None => changes.push(PinChange::Added(source.key, pin)),
        }
    }
    if !changes.is_empty() {
        output.write(&lock.text())?;
    }
    Ok(LockFileUpdate { path: loaded.lock_path.clone(), changes, pins: lock.pins.len() })
}

/// Asks every source what it leads to now. Fetches and writes nothing.
pub async fn outdated(loaded: &LoadedManifest) -> Result<Vec<SourceReport>, Error> {
    let client = Client::new()?;
    let facts = loaded.facts().await;
    let lock = loaded.lock.clone().unwrap_or_default();
    let questions = sources(&loaded.manifest).into_iter().map(|source| {
        let (client, facts, lock) = (&client, &facts, &lock);
        async move {
            let upstream = observe::upstream(client, &source, facts).await;
            let upstream = upstream.map_err(|error| super::error::chain(&error));
            let pin = lock.pins.get(&source.key);
            source_report(source, pin, upstream)
        }
    });
    Ok(join_all(questions).await)
}

/// Returns the pin of each source; one source that does not answer ends it.
async fn pins(loaded: &LoadedManifest, sources: Vec<Source>, report: &Report<'_>) -> Result<Vec<(Source, Pin)>, Error> {
    let client = Client::new()?;
    let facts = loaded.facts().await;
    let cancel = CancellationToken::new();
    let asked = iter(sources).map(|source| {
        let (client, facts, cancel) = (&client, &facts, &cancel);
        async move {
            let step = format!("read {}", source.key);
            let on_progress = |Progress { received, total }: Progress| {
                report(Event::Progress { step: step.clone(), done: Some(received), total, note: None });
            };
            match observe::pin(client, &source, facts, &on_progress, cancel).await {
                Ok(pin) => Ok((source, pin)),
                Err(error) => Err(Error::Source { key: source.key, error }),
            }
        }
    });
    asked.buffered(AT_ONCE).collect::<Vec<Result<_, Error>>>().await.into_iter().collect()
}

fn source_report(source: Source, pin: Option<&Pin>, upstream: Result<Upstream, String>) -> SourceReport {
    let (state, now, to_fetch, why) = match upstream {
        Err(why) => (SourceState::Unknown, None, None, Some(why)),
        Ok(Upstream { offer, to_fetch }) => {
            let state = pin.map_or(SourceState::NotLocked, |pin| match (&offer.sha256, &offer.etag, &pin.etag) {
                (Some(now), _, _) if *now == pin.sha256 => SourceState::Current,
                (None, Some(now), Some(then)) if now == then => SourceState::Current,
                (Some(_), _, _) | (None, Some(_), Some(_)) => SourceState::Moved,
                (None, _, _) => SourceState::Unknown,
            });
            let why = (state == SourceState::Unknown).then(|| "its server sends neither a digest nor a version".into());
            (state, offer.sha256, to_fetch.filter(|_| state != SourceState::Current), why)
        }
    };
    let locked = pin.map(|pin| pin.sha256.clone());
    SourceReport { source: source.key, parts: source.parts, state, locked, now, to_fetch, why }
}
