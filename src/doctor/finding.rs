//! The findings, with stable codes.

use crate::systems::{Hint as _, sealed};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// The remedy for a damaged or lost record.
pub(super) const REPAIR: &str = "`llamero doctor --repair` rebuilds it from the running servers";

/// The kind of a finding. The names are part of the interface for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A record does not match its seal.
    RecordDamaged,
    /// A record was written by a llamero that was never released.
    RecordUnreleased,
    /// A record was written by a later llamero.
    RecordNewer,
    /// A record cannot be read.
    RecordUnreadable,
    /// A managed process runs without a record.
    RecordLost,
    /// The servers of the stack end when their user logs out.
    EndsAtLogout,
}

impl Code {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordDamaged => "record-damaged",
            Self::RecordUnreleased => "record-unreleased",
            Self::RecordNewer => "record-newer",
            Self::RecordUnreadable => "record-unreadable",
            Self::RecordLost => "record-lost",
            Self::EndsAtLogout => "ends-at-logout",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem in the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of problem.
    pub code: Code,
    /// The file or folder concerned.
    pub path: PathBuf,
    /// A description of the problem.
    pub message: String,
    /// The remedy, if there is one.
    pub remedy: Option<String>,
}

impl Finding {
    /// Returns the finding about a record that cannot be used.
    pub(super) fn of(error: &sealed::Error) -> Self {
        let (code, remedy) = match error {
            sealed::Error::Damaged { .. } => (Code::RecordDamaged, Some(REPAIR.to_owned())),
            sealed::Error::Unreleased { .. } => (Code::RecordUnreleased, Some(REPAIR.to_owned())),
            sealed::Error::Future { .. } => (Code::RecordNewer, error.hint()),
            sealed::Error::Files(_) => (Code::RecordUnreadable, error.hint()),
        };
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { code, path: error.path().to_owned(), message: format!("{error}{cause}"), remedy }
    }
}
