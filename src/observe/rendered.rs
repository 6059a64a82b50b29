//! Rendered texts side by side: what is live, and what is declared. Secrets are numbered masks.

use crate::live::{Live, LiveFile, Observation, Presence};
use crate::plan::{Cause, Change};
use crate::resolve::Desired;
use crate::resource::{Content, Digest, Field, FileSpec, Kind, Piece, Resource, ResourceId, SecretReference, Spec};
use crate::systems::Systems;
use crate::targets;

/// The change of one rendered text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedChange {
    /// The resource.
    pub on: ResourceId,
    /// The live text.
    pub live: String,
    /// The declared text; the same as the live one where nothing rendered changes.
    pub declared: String,
    /// The causes of the change.
    pub causes: Vec<String>,
}

/// Returns what becomes of the text of a resource that changes.
#[must_use]
pub fn rendered_change(
    systems: &Systems,
    desired: &Desired,
    before: Option<&Desired>,
    observed: &Observation,
    change: &Change,
) -> RenderedChange {
    let id = &change.on;
    let declared = desired.resources.get(id);
    let mut masks = Masks::default();
    let unknown = |reference: &SecretReference| desired.unknown.contains_key(reference);
    let (live, declared) = match id.kind {
        Kind::File => {
            let live = live_text(observed, id).unwrap_or_else(|| masks.content(file_of(before, id), |_| false));
            (live, masks.content(file_of(Some(desired), id), unknown))
        }
        kind if kind.runs() => {
            let lowered = |resource| targets::of_kind(kind)?.definition(&desired.stack, resource).ok()?;
            let live = targets::driver(kind).and_then(|driver| driver.definition(systems, id));
            match (live, declared.and_then(lowered)) {
                // Its definition is no text, so its fields are compared.
                (None, None) => {
                    let live = before.and_then(|before| before.resources.get(id));
                    (live.map(fields).unwrap_or_default(), declared.map(fields).unwrap_or_default())
                }
                (live, declared) => (live.unwrap_or_default(), declared.unwrap_or_default()),
            }
        }
        _ => (String::new(), String::new()),
    };
    RenderedChange { on: id.clone(), live, declared, causes: change.causes.iter().map(Cause::detailed).collect() }
}

/// Returns the current text; one with secrets is not read.
fn live_text(observed: &Observation, id: &ResourceId) -> Option<String> {
    match observed.resources.get(id) {
        Some(Presence::Present(Live::File(LiveFile { text, .. }))) => text.clone(),
        Some(Presence::Absent) => Some(String::new()),
        _ => None,
    }
}

fn file_of<'a>(desired: Option<&'a Desired>, id: &ResourceId) -> Option<&'a FileSpec> {
    match desired?.resources.get(id).map(|resource| &resource.spec) {
        Some(Spec::File(file)) => Some(file),
        _ => None,
    }
}

/// Returns what a server is started with, a line for each field.
fn fields(resource: &Resource) -> String {
    let line = |(name, field): (&String, &Field)| format!("{name} {}", field.value).trim_end().to_owned() + "\n";
    resource.fields().iter().map(line).collect()
}

/// Numbers secrets by their digests, so that a changed one shows as another number.
#[derive(Default)]
struct Masks {
    known: Vec<Digest>,
}

impl Masks {
    fn content(&mut self, file: Option<&FileSpec>, is_unknown: impl Fn(&SecretReference) -> bool) -> String {
        let Some(FileSpec { content: Content(pieces), .. }) = file else { return String::new() };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Secret { reference, .. } if is_unknown(reference) => text.push_str("(secret unknown)"),
                Piece::Secret { digest, .. } => text.push_str(&format!("(secret #{})", self.number(digest))),
            }
        }
        text
    }

    fn number(&mut self, digest: &Digest) -> usize {
        let known = self.known.iter().position(|known| known == digest).unwrap_or_else(|| {
            self.known.push(digest.clone());
            self.known.len() - 1
        });
        known + 1
    }
}
