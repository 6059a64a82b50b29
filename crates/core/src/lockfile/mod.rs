//! The lock file beside a manifest: which content each source of the manifest means.
//!
//! A tag, a branch and an address can lead to something else tomorrow. The lock says what they led to when a person last
//! looked, so that every machine gets the same, and nothing moves unless it is asked to. Values only: who asks a
//! registry stands below the line.

mod sources;

pub use sources::{Origin, Source, sources};

use crate::manifest::Manifest;
use crate::render::yaml::yaml;
use crate::resource::{Bytes, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest lock file that is read, in bytes.
pub const LIMIT: usize = 4 << 20;

/// The version of the lock file's form.
const VERSION: u32 = 1;

const HEADER: &str = "\
# Which content each source of the manifest means. Keep it beside the manifest, in git too.
# `llamero lock` adds what is missing, `llamero update` moves it on.
";

/// What a source led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The sha256 of the file, of the model's manifest in its registry, or of the list of a repository's files.
    pub sha256: Digest,
    /// The commit of the hub's repository that the file is taken from, or that is taken whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The size of all that it stands for, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What the server says of an address's version, to notice another without reading it: the `ETag` of RFC 9110.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl Pin {
    /// Returns the size, where it is known.
    #[must_use]
    pub fn size(&self) -> Option<Bytes> {
        self.size.map(Bytes)
    }
}

/// Every pin of a manifest, by its source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockFile {
    /// The pins by [`Source::key`].
    pub pins: BTreeMap<String, Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    sources: BTreeMap<String, Pin>,
}

/// What a document of any version begins with.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl LockFile {
    /// Reads a lock file's text; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LIMIT {
            return Err(format!("it is larger than {} MiB", LIMIT >> 20));
        }
        let said = |error: serde_saphyr::Error| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        };
        let Version { version } = serde_saphyr::from_str(text).map_err(said)?;
        if version != VERSION {
            return Err(format!("it has the version {version}; this llamero knows version {VERSION}"));
        }
        let document: Document = serde_saphyr::from_str(text).map_err(said)?;
        Ok(Self { pins: document.sources })
    }

    /// Returns whether a text is a lock file that may be replaced by its successor.
    #[must_use]
    pub fn recognizes(text: &str) -> bool {
        Self::parse(text).is_ok()
    }

    /// Returns the lock file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let document = Document { version: VERSION, sources: self.pins.clone() };
        format!("{HEADER}{}", yaml(&serde_json::to_value(document).unwrap_or_default()))
    }

    /// Returns the sources of a manifest that have no pin.
    #[must_use]
    pub fn missing(&self, manifest: &Manifest) -> Vec<Source> {
        sources(manifest).into_iter().filter(|source| !self.pins.contains_key(&source.key)).collect()
    }

    /// Returns the pins that no source of a manifest has.
    #[must_use]
    pub fn unused(&self, manifest: &Manifest) -> Vec<String> {
        let sources = sources(manifest);
        self.pins.keys().filter(|key| !sources.iter().any(|source| source.key == **key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LockFile, Pin};
    use crate::resource::Digest;

    fn lock() -> LockFile {
        let pin = |text: &str| Pin { sha256: Digest::of(text), revision: None, size: None, etag: None };
        let whole = Pin {
            revision: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            size: Some(4_683_073_952),
            etag: Some("\"a: b\"".to_owned()),
            ..pin("b")
        };
        LockFile { pins: [("ollama:llama3.1:8b".to_owned(), pin("a")), ("hf:a/b/c d#.gguf".to_owned(), whole)].into() }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(LockFile::parse(&lock().text()), Ok(lock()));
        assert_eq!(LockFile::parse(&LockFile::default().text()), Ok(LockFile::default()));
    }

    #[test]
    fn the_text_is_the_same_every_time_and_starts_with_a_word_to_people() {
        assert_eq!(lock().text(), lock().text());
        assert!(lock().text().starts_with("# Which content"), "{}", lock().text());
    }

    #[test]
    fn what_is_no_lock_is_said() {
        for (text, says) in [
            ("", "unexpected end"),
            ("sources: {}\n", "version"),
            ("version: 1\n", "sources"),
            ("version: 2\nsources: {}\n", "version 2"),
            ("version: 1\nsources: {a: {sha256: 12}}\n", "sha256"),
            ("version: 1\nsource: {}\n", "source"),
            ("<<<<<<< ours\nversion: 1\n", ""),
        ] {
            let error = LockFile::parse(text).expect_err(text);
            assert!(!error.contains('\n') && error.contains(says), "{text:?}: {error}");
        }
    }
}
