//! The lock file: its text, and what its pins say of a manifest's sources.

use super::sources::{Source, sources};
use crate::manifest::Manifest;
use crate::render::yaml::yaml;
use crate::resource::{Bytes, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The size limit of a lock file, in bytes.
pub const LIMIT: usize = 4 << 20;

/// The version of the lock file's format.
const VERSION: u32 = 1;

const HEADER: &str = "\
# The content that each source of the manifest is pinned to. Keep it beside the manifest and commit it.
# `llamero lock` adds what is missing, `llamero update` moves it on.
";

/// The content that a source resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The sha256 of the file, of the model's manifest in its registry, or of the list of a repository's files.
    pub sha256: Digest,
    /// The commit of the hub's repository that the content comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The total size of the content, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The server's version tag of an address (the `ETag` of RFC 9110), to detect a change without a download.
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

/// The head of a document of any version.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl LockFile {
    /// Parses a lock file; the error describes the defect.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LIMIT {
            return Err(format!("it is larger than {} MiB", LIMIT >> 20));
        }
        let message = |error: serde_saphyr::Error| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        };
        let Version { version } = serde_saphyr::from_str(text).map_err(message)?;
        if version != VERSION {
            return Err(format!("it has version {version}; this llamero supports version {VERSION}"));
        }
        let document: Document = serde_saphyr::from_str(text).map_err(message)?;
        Ok(Self { pins: document.sources })
    }

    /// Returns whether a text is a lock file that llamero may replace.
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

    /// Returns the pins that belong to no source of a manifest.
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
    fn a_written_lock_file_reads_back() {
        assert_eq!(LockFile::parse(&lock().text()), Ok(lock()));
        assert_eq!(LockFile::parse(&LockFile::default().text()), Ok(LockFile::default()));
    }

    #[test]
    fn the_text_is_deterministic_and_starts_with_a_comment() {
        assert_eq!(lock().text(), lock().text());
        assert!(lock().text().starts_with("# The content"), "{}", lock().text());
    }

    #[test]
    fn an_invalid_lock_file_is_an_error() {
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
