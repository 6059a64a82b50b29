//! `llamero diff`: how rendered files would change, line by line. Secrets are numbered masks.

use super::super::color::{color, styled};
use super::super::exit::Exit;
use super::super::problem::{Problem, error, print};
use super::super::{ManifestArgument, load};
use super::plan::exit;
use crate::live::{Live, LiveFile, Presence};
use crate::observe::Depth;
use crate::plan::Cause;
use crate::reconcile::{Options, Prepared, prepare};
use crate::render::unit;
use crate::resolve::Desired;
use crate::resource::{Bytes, Content, Digest, FileSpec, Kind, Piece, Resource, ResourceId, Spec};
use crate::systems::{Systems, files};
use anstyle::AnsiColor;
use similar::TextDiff;

/// The largest file that is compared, in bytes.
const LIMIT: Bytes = Bytes(4 << 20);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = load::manifest(&arguments.manifest)?;
    load::check_lock(&loaded, false)?;
    let revision = load::revision(&loaded).await?;
    let stack = load::stack(&loaded.manifest.stack.value, &loaded.directories)?;
    let prepared = prepare(&stack, revision, Depth::State, Options::default()).await?;
    let before = stack.history.committed()?.map(|good| good.revision.desired);
    let mut text = String::new();
    for change in &prepared.plan.changes {
        text.push_str(&one(&stack.systems, &prepared, before.as_ref(), &change.on, &change.causes));
    }
    print(&text)?;
    for refusal in &prepared.plan.refusals {
        error(&refusal.message, refusal.hint.as_deref());
    }
    if !prepared.plan.refusals.is_empty() {
        return Ok(exit(&prepared.plan, false));
    }
    Ok(if prepared.plan.changes.is_empty() { Exit::Done } else { Exit::Changes })
}

fn one(systems: &Systems, prepared: &Prepared, before: Option<&Desired>, id: &ResourceId, causes: &[Cause]) -> String {
    let declared = prepared.revision.desired.resources.get(id);
    let mut masks = Masks::default();
    let (old, new) = match (id.kind, declared.map(|resource| &resource.spec)) {
        (Kind::File, spec) => {
            let old = live_text(prepared, id).unwrap_or_else(|| masks.content(file_of(before, id)));
            let new = if let Some(Spec::File(file)) = spec { masks.content(Some(file)) } else { String::new() };
            (old, new)
        }
        (Kind::Unit, _) => {
            let old = files::read_text(&systems.unit_file(id), LIMIT).ok().flatten().unwrap_or_default();
            let new =
                declared.map(|resource| unit::unit(&prepared.revision.desired.stack, resource).unwrap_or_default());
            let new = new.unwrap_or_default();
            (old, new)
        }
        (Kind::Process, _) => {
            let old = before.and_then(|before| before.resources.get(id)).map(fields).unwrap_or_default();
            (old, declared.map(fields).unwrap_or_default())
        }
        _ => (String::new(), String::new()),
    };
    if old == new {
        let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
        return format!("{id}: {}\n", causes.join("; "));
    }
    shown(id, &old, &new)
}

/// Returns the text that is there now; one with secrets is not looked at.
fn live_text(prepared: &Prepared, id: &ResourceId) -> Option<String> {
    match prepared.observed.resources.get(id) {
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

/// Returns what a process is started with, a line for each field.
fn fields(resource: &Resource) -> String {
    resource
        .fields()
        .iter()
        .map(|(name, field)| format!("{name} {}", field.value).trim_end().to_owned() + "\n")
        .collect()
}

/// Numbers secrets by their digests, so that a changed one shows as another number.
#[derive(Default)]
struct Masks {
    known: Vec<Digest>,
}

impl Masks {
    fn content(&mut self, file: Option<&FileSpec>) -> String {
        let Some(FileSpec { content: Content(pieces), .. }) = file else { return String::new() };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
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

fn shown(id: &ResourceId, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let unified =
        diff.unified_diff().context_radius(3).header(&format!("{id} (live)"), &format!("{id} (wanted)")).to_string();
    let mut text = String::new();
    for line in unified.lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => color(AnsiColor::Green),
            Some(b'-') => color(AnsiColor::Red),
            Some(b'@') => color(AnsiColor::Cyan),
            _ => anstyle::Style::new(),
        };
        text.push_str(&styled(style, line));
        text.push('\n');
    }
    text
}
