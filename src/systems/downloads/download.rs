//! A download: its source and target, and its timeouts.

use crate::resource::{Bytes, Digest};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A token whose value is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The timeouts and retries of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait for a response's head, and for the next bytes.
    pub stall: Duration,
    /// The number of consecutive attempts that may bring no progress.
    pub tries: u32,
    /// The pause after the first interruption; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause, also when a server asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(120),
        }
    }
}

impl Patience {
    /// Returns the pause after `idle` consecutive attempts without progress, where the server may have asked for one.
    pub(in crate::systems) fn pause_after(&self, idle: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.pause.saturating_mul(1 << idle.saturating_sub(1).min(16));
        asked.unwrap_or(doubled).min(self.longest_pause)
    }
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The address.
    pub url: String,
    /// The bearer token for the address's host, and for no other.
    pub token: Option<Token>,
    /// The path of the file.
    pub path: PathBuf,
    /// The expected digest.
    pub sha256: Option<Digest>,
    /// The space to keep free on its disk.
    pub keep_free: Bytes,
    /// The timeouts and retries.
    pub patience: Patience,
}

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The bytes received, including those of earlier attempts.
    pub received: u64,
    /// The size of the file, where known.
    pub total: Option<u64>,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A callback that receives progress.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
