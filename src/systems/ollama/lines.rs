//! The lines of JSON in which Ollama tells how far a long command is.

use crate::systems::http::{Error, Incoming};
use serde::Deserialize;

/// The longest line that is read; Ollama's have some hundred bytes.
const LONGEST: usize = 1 << 20;

/// One line.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Line {
    /// What it is doing; `success` is the last one.
    #[serde(default)]
    pub(super) status: String,
    /// The layer that it is about.
    #[serde(default)]
    pub(super) digest: String,
    /// The bytes of that layer.
    #[serde(default)]
    pub(super) total: u64,
    /// What is there of them.
    #[serde(default)]
    pub(super) completed: u64,
    /// Why it failed; the answer's status is 200 all the same.
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// An answer, line by line.
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

    /// Waits for the next line; the caller brings the deadline, and loses no line when it runs out. Lines that cannot
    /// be read are passed over, as what follows them tells how it ended.
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
                    // The last line may lack its end.
                    self.buffer.push(b'\n');
                }
            }
        }
    }
}
