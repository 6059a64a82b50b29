//! What is found while a manifest is decoded.

use super::error::Error;
use crate::manifest::locate::locate;
use crate::resource::Note;
use std::collections::{BTreeMap, BTreeSet};

/// The findings so far: notes by location, and the paths left out.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) notes: BTreeMap<(usize, String), Note>,
    pub(super) left_out: BTreeSet<String>,
}

impl Findings {
    pub(super) fn add(&mut self, text: &str, error: &Error) {
        let span = error.span.clone().unwrap_or(0..0);
        let path = error.path.clone().unwrap_or_default();
        let mut note = Note::error(error.code, error.message.clone()).at(locate(text, &path, span.clone()));
        note.hint.clone_from(&error.hint);
        self.notes.insert((span.start, note.message.clone()), note);
    }
}

/// Returns the path of a part of `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
