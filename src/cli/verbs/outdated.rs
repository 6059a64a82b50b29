//! `llamero outdated`: shows which sources lead to other content than what is pinned, and what it costs to follow them.

use super::super::arguments::ManifestArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, error, note, print, print_json};
use crate::reconcile::{self, SourceReport, SourceState};
use crate::resource::{Bytes, Digest};
use serde::Serialize;

/// The version of the JSON form.
const SCHEMA: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    sources: Vec<SourceReport>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&arguments.manifest)?;
    let sources = reconcile::outdated(&loaded).await?;
    let exit = exit(&sources);
    if arguments.json {
        print_json(&Document { schema: SCHEMA, sources })?;
        return Ok(exit);
    }
    print(&text(&sources))?;
    let of = |state| sources.iter().filter(move |source| source.state == state);
    for source in of(SourceState::Unknown) {
        error(&format!("{}: {}", source.source, source.why.as_deref().unwrap_or("unknown")), None);
    }
    let moved: Vec<&str> =
        of(SourceState::Moved).filter_map(|source| source.parts.first()).map(String::as_str).collect();
    if !moved.is_empty() {
        note(&format!("`llamero update {}` follows", moved.join(" ")));
    }
    if of(SourceState::NotLocked).next().is_some() {
        note("`llamero lock` pins what is not locked");
    }
    Ok(exit)
}

fn exit(sources: &[SourceReport]) -> Exit {
    let any = |state| sources.iter().any(|source| source.state == state);
    if any(SourceState::Unknown) { Exit::Error } else { Exit::differs(any(SourceState::Moved)) }
}

fn text(sources: &[SourceReport]) -> String {
    let mut text = String::new();
    for source in sources.iter().filter(|source| matches!(source.state, SourceState::Moved | SourceState::NotLocked)) {
        let short = |digest: &Option<Digest>, none: &str| digest.as_ref().map_or(none, Digest::short).to_owned();
        let fetch = match source.to_fetch {
            Some(0) => "nothing to fetch".to_owned(),
            Some(bytes) => format!("{} to fetch", Bytes(bytes)),
            None => "size unknown".to_owned(),
        };
        let (locked, now) = (short(&source.locked, "not locked"), short(&source.now, "another version"));
        text.push_str(&format!("{}\n  {locked} -> {now}, {fetch}\n", source.source));
    }
    let parts = [
        (SourceState::Moved, "moved"),
        (SourceState::NotLocked, "not locked"),
        (SourceState::Unknown, "unknown"),
        (SourceState::Current, "as locked"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .map(|(state, what)| (sources.iter().filter(|source| source.state == *state).count(), what))
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() {
        return "nothing in this manifest has a source that can be pinned\n".to_owned();
    }
    text.push_str(&format!("{}\n", parts.join(", ")));
    text
}
