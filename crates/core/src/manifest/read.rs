//! Reading of a manifest: parsed, decoded and checked, with a note for every problem.

use super::types::Manifest;
use super::{check, decode, yaml};
use crate::resource::Note;

/// The largest manifest, in bytes.
pub const LIMIT: usize = 1 << 20;

/// Reads a manifest. It is returned only when no note is an error.
#[must_use]
pub fn read(text: &str) -> (Option<Manifest>, Vec<Note>) {
    if text.len() > LIMIT {
        let message = format!("the manifest is larger than {} KiB", LIMIT >> 10);
        return (None, vec![Note::error("too-large", message)]);
    }
    let tree = match yaml::parse(text) {
        Ok(Some(tree)) => tree,
        Ok(None) => {
            let hint = "`llamero schema` describes the format";
            return (None, vec![Note::error("empty", "the manifest is empty").hint(hint)]);
        }
        Err(note) => return (None, vec![note]),
    };
    let (manifest, mut notes) = decode::decode(text, &tree);
    if let Some(manifest) = &manifest {
        // Decoding reports some of these already.
        let is_known = |note: &Note| {
            // What cannot be decoded is not also unused.
            let within = |known: &Note| match (&known.place, &note.place) {
                (Some(known), Some(place)) => known.path.starts_with(&place.path),
                _ => false,
            };
            let same = |known: &Note| (&known.code, &known.place) == (&note.code, &note.place);
            notes.iter().any(|known| same(known) || note.code == "unused" && within(known))
        };
        let found = check::check(text, &tree, manifest);
        notes.extend(found.into_iter().filter(|note| !is_known(note)).collect::<Vec<_>>());
    }
    notes.sort_by_key(|note| note.place.as_ref().map_or((0, 0), |place| (place.line, place.column)));
    let good = !notes.iter().any(Note::is_error);
    (manifest.filter(|_| good), notes)
}
