//! Notes of a check: an error or a warning, with its location in the manifest and a remedy.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The severity of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Every command is blocked until it is fixed.
    Error,
    /// It works, but probably not as intended.
    Warning,
}

/// The location of a note in the manifest.
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

/// One finding. Notes are collected rather than returned at the first error, so the user sees all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its severity.
    pub severity: Severity,
    /// A stable name for the finding, such as `unknown-provider`.
    pub code: String,
    /// Its location, if it is in the manifest.
    pub place: Option<Location>,
    /// The problem, in one sentence without a full stop.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl Note {
    /// Returns an error without a location or a hint.
    #[must_use]
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code: code.to_owned(), place: None, message: message.into(), hint: None }
    }

    /// Returns a warning without a location or a hint.
    #[must_use]
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Returns the note with a location.
    #[must_use]
    pub fn at(self, place: Location) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Returns the note with a remedy.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns whether this note is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
