//! The JSON lines in which Ollama reports the progress of a long command.

use crate::systems::http::{Error, Incoming};
use serde::Deserialize;

/// The longest line that is read; Ollama's have some hundred bytes.
const LONGEST: usize = 1 << 20;

/// One progress report.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Line {
    /// The current operation; `success` is the last one.
    #[serde(default)]
    pub(super) status: String,
    /// The layer concerned.
    #[serde(default)]
    pub(super) digest: String,
    /// The size of that layer in bytes.
    #[serde(default)]
    pub(super) total: u64,
    /// The bytes received of it.
    #[serde(default)]
    pub(super) completed: u64,
    /// The failure; the status of the answer is 200 all the same.
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// An answer, read line by line.
pub(super) struct Lines {
    incoming: Incoming,
    buffer: Vec<u8>,
    read: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self { incoming, buffer: vec![], read: 0, ended: false }
    }

    /// Reads the next line; the caller sets the deadline, and loses no line when it passes. Unreadable lines are
    /// skipped, because a later line reports the outcome.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Error> {
        loop {
            while let Some(length) = self.buffer[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = &self.buffer[self.read..self.read + length];
                self.read += length + 1;
                if let Ok(line) = serde_json::from_slice(line) {
                    return Ok(Some(line));
                }
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            if self.ended || self.buffer.len() > LONGEST {
                return Ok(None);
            }
            match self.incoming.chunk().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => {
                    self.ended = true;
                    // The last line may lack its line break.
                    self.buffer.push(b'\n');
                }
            }
        }
    }
}
