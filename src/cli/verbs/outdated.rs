//! `llamero outdated`: shows which models have moved on at their sources, and what it would cost to follow them.

use super::super::exit::Exit;
use super::super::problem::{Problem, error, note, print, print_json};
use super::super::{ManifestArgument, load};
use crate::lockfile::{Pin, Source, sources};
use crate::observe::{self, Upstream};
use crate::resource::{Bytes, Digest};
use crate::systems::http::Client;
use futures_util::future::join_all;
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
    sources: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    source: String,
    parts: Vec<String>,
    state: State,
    locked: Option<Digest>,
    now: Option<Digest>,
    to_fetch: Option<u64>,
    why: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum State {
    Current,
    Moved,
    NotLocked,
    Unknown,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = load::manifest(&arguments.manifest)?;
    let client = Client::new().map_err(|error| Problem::of(&error))?;
    let facts = load::known(&loaded).await;
    let lock = loaded.lock.clone().unwrap_or_default();
    let questions = sources(&loaded.manifest).into_iter().map(|source| async {
        let upstream = observe::upstream(&client, &source, &facts).await.map_err(|error| Problem::of(&error).message);
        let pin = lock.pins.get(&source.key);
        entry(source, pin, upstream)
    });
    let entries = join_all(questions).await;
    let exit = exit(&entries);
    if arguments.json {
        print_json(&Document { schema: SCHEMA, sources: entries })?;
        return Ok(exit);
    }
    print(&text(&entries))?;
    for entry in entries.iter().filter(|entry| entry.state == State::Unknown) {
        error(&format!("{}: {}", entry.source, entry.why.as_deref().unwrap_or("it cannot be told")), None);
    }
    let of = |state| entries.iter().filter(move |entry| entry.state == state);
    let moved: Vec<&str> = of(State::Moved).filter_map(|entry| entry.parts.first()).map(String::as_str).collect();
    if !moved.is_empty() {
        note(&format!("`llamero update {}` follows", moved.join(" ")));
    }
    if of(State::NotLocked).next().is_some() {
        note("`llamero lock` holds what is not locked to what there is now");
    }
    Ok(exit)
}

fn exit(entries: &[Entry]) -> Exit {
    let any = |state| entries.iter().any(|entry| entry.state == state);
    match (any(State::Unknown), any(State::Moved)) {
        (true, _) => Exit::Error,
        (false, true) => Exit::Changes,
        (false, false) => Exit::Done,
    }
}

fn entry(source: Source, pin: Option<&Pin>, upstream: Result<Upstream, String>) -> Entry {
    let (state, now, to_fetch, why) = match upstream {
        Err(why) => (State::Unknown, None, None, Some(why)),
        Ok(Upstream { offer, to_fetch }) => {
            let state = pin.map_or(State::NotLocked, |pin| match (&offer.sha256, &offer.etag, &pin.etag) {
                (Some(now), _, _) if *now == pin.sha256 => State::Current,
                (None, Some(now), Some(then)) if now == then => State::Current,
                (Some(_), _, _) | (None, Some(_), Some(_)) => State::Moved,
                (None, _, _) => State::Unknown,
            });
            let why = "its server tells neither a digest nor a version";
            let why = (state == State::Unknown).then(|| why.to_owned());
            (state, offer.sha256, to_fetch.filter(|_| state != State::Current), why)
        }
    };
    let locked = pin.map(|pin| pin.sha256.clone());
    Entry { source: source.key, parts: source.parts, state, locked, now, to_fetch, why }
}

fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| matches!(entry.state, State::Moved | State::NotLocked)) {
        let short = |digest: &Option<Digest>, none: &str| digest.as_ref().map_or(none, Digest::short).to_owned();
        let fetch = match entry.to_fetch {
            Some(0) => "nothing to fetch".to_owned(),
            Some(bytes) => format!("{} to fetch", Bytes(bytes)),
            None => "size unknown".to_owned(),
        };
        let (locked, now) = (short(&entry.locked, "not locked"), short(&entry.now, "another version"));
        text.push_str(&format!("{}\n  {locked} -> {now}, {fetch}\n", entry.source));
    }
    let parts = [
        (State::Moved, "moved"),
        (State::NotLocked, "not locked"),
        (State::Unknown, "unknown"),
        (State::Current, "as locked"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .map(|(state, what)| (entries.iter().filter(|entry| entry.state == *state).count(), what))
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() {
        return "nothing here has a source that can be held to something\n".to_owned();
    }
    text.push_str(&format!("{}\n", parts.join(", ")));
    text
}
