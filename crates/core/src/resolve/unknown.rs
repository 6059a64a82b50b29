//! Secrets whose values are unknown.

use crate::resource::{ManifestPath, Note, ResourceId};
use std::ops::Range;

/// A secret whose value is unknown, because it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSecret {
    /// Why.
    pub why: String,
    /// The remedy.
    pub hint: Option<String>,
    /// The path of the manifest that refers to it first.
    pub path: ManifestPath,
    /// The bytes of the manifest that declare the part which needs it.
    pub span: Range<usize>,
}

impl UnknownSecret {
    /// Returns the note about it: a warning, or an error where `needed` is what cannot do without it.
    #[must_use]
    pub fn note(&self, needed: Option<&ResourceId>) -> Note {
        const CODE: &str = "unreadable-secret";
        let note = match needed {
            None => Note::warning(CODE, self.why.clone()),
            Some(id) => Note::error(CODE, format!("{}, and {id} needs it", self.why)),
        };
        Note { hint: self.hint.clone(), ..note }
    }
}
