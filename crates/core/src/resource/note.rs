//! What a check has to say: an error or a warning, with its place in the manifest and a remedy.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How serious a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing can be done until this is mended.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

/// Where in the manifest a note points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The path of keys, such as `models.qwen3.context`.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The byte range in the manifest's text that is underlined.
    pub span: Range<usize>,
}

/// One finding. Notes are collected, never thrown: a person sees all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How serious it is.
    pub severity: Severity,
    /// A stable name for the finding, such as `unknown-provider`.
    pub code: String,
    /// Where it is, when it is somewhere in the manifest.
    pub place: Option<Location>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Note {
    /// Returns an error without a place or a hint.
    #[must_use]
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code: code.to_owned(), place: None, message: message.into(), hint: None }
    }

    /// Returns a warning without a place or a hint.
    #[must_use]
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Returns the note pointing at `place`.
    #[must_use]
    pub fn at(self, place: Location) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Returns the note with a remedy.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns whether this note stops the work.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
