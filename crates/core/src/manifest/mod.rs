//! The manifest: one YAML file, parsed with the location of every value and checked as a whole.
//!
//! [`read`] never fails and never stops at the first problem: it returns the values that could be decoded, and a note
//! for every problem. The manifest is resolved for a machine elsewhere.

mod addresses;
mod check;
mod common;
mod decode;
mod engine;
mod names;
mod report;
mod schema;
mod source;
mod suggest;
mod template;
mod types;
mod values;
mod yaml;

pub use addresses::{HttpAddress, RedisAddress, ServicePort};
pub use common::{Common, HealthSettings, Install, LimitSettings, Network, RuntimeName};
pub use engine::{CacheEngine, GatewayEngine, ProviderEngine};
pub use names::{ContainerName, HttpPath, Image, PathText, Sha256, UnitName, Word};
pub use report::report;
pub use schema::schema;
pub use source::{COMMAND_PATH, DownloadUrl, HubSource, Source, file_name};
pub use suggest::hint as suggest;
pub use template::{Part, Template, TemplatePiece};
pub use types::{
    Cache, DriftPolicy, Gateway, Gpu, Load, Machine, Managed, Manifest, Model, ModelFiles, Policy, Provider, Rollback,
    Rollout, Service,
};
pub use values::{Argv, Entries, Entry, RawSettings, SecretSource, Size, Spanned, Time};

pub use crate::resource::Mode;

use crate::resource::{Location, Note};

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

/// Returns whether a text is a valid stack name, which is also a folder name and a prefix of unit names.
#[must_use]
pub fn is_stack_name(text: &str) -> bool {
    let letters = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    letters && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Returns the location of a byte range in a manifest's text.
#[must_use]
pub fn locate(text: &str, path: &str, span: std::ops::Range<usize>) -> Location {
    let start = (0..=span.start.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    let end = (span.end.min(text.len())..=text.len()).find(|index| text.is_char_boundary(*index)).unwrap_or(start);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Location { path: path.to_owned(), line, column, span: start..end.max(start) }
}
