//! `llamero history`: lists what was applied.

use super::super::arguments::StackArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print, print_json};
use crate::history::{Ending, Generation, RecordedChange, StepResult};
use crate::plan::Verb;
use serde::Serialize;

/// The settings that are listed for each generation.
const SETTINGS: usize = 5;

/// The version of the JSON form.
const SCHEMA: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry {
    generation: u64,
    current: bool,
    begun: String,
    ending: &'static str,
    origin: String,
    why: Option<String>,
    changes: Vec<RecordedChange>,
    #[serde(skip)]
    settings: Vec<String>,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    stack: String,
    generations: Vec<Entry>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = input::stack(&arguments.stack)?;
    let current = stack.history.current()?;
    let generations: Vec<Entry> = stack.history.all()?.iter().map(|generation| entry(generation, current)).collect();
    if arguments.json {
        print_json(&Document { schema: SCHEMA, stack: stack.name, generations })?;
        return Ok(Exit::Done);
    }
    if generations.is_empty() {
        print(&format!("nothing was applied yet to the stack `{}`\n", stack.name))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for entry in generations.iter().rev() {
        let mark = if entry.current { '*' } else { ' ' };
        text.push_str(&format!(
            "{mark} {:>4}  {}  {:<12} {}\n",
            entry.generation, entry.begun, entry.ending, entry.origin
        ));
        for line in changed(entry) {
            text.push_str(&format!("          {line}\n"));
        }
        if let Some(why) = &entry.why {
            text.push_str(&format!("          {}\n", why.lines().next().unwrap_or_default()));
        }
    }
    print(&text)?;
    Ok(Exit::Done)
}

fn entry(generation: &Generation, current: Option<u64>) -> Entry {
    let steps = generation.outcome.iter().flat_map(|outcome| &outcome.steps);
    let failed = steps.filter(|step| step.result == StepResult::Failed).find_map(|step| step.why.clone());
    let manifest = generation.revision.manifest.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Entry {
        generation: generation.number,
        current: current == Some(generation.number),
        // Without the offset and the seconds: what is listed is recent and from here.
        begun: generation.revision.begun.chars().take(16).collect(),
        ending: word(generation),
        origin: generation.revision.origin.clone().unwrap_or(manifest),
        why: failed.or_else(|| generation.outcome.as_ref()?.why.clone()),
        changes: generation.revision.changes.clone(),
        settings: generation.revision.changed_settings(),
    }
}

/// Returns the settings that a generation changed, or the number of resources where none is their cause.
fn changed(entry: &Entry) -> Vec<String> {
    let mut lines: Vec<String> = entry.settings.iter().take(SETTINGS).cloned().collect();
    let more = entry.settings.len().saturating_sub(SETTINGS);
    if more > 0 {
        lines.push(format!("and {more} more settings; `llamero show {}` lists them", entry.generation));
    }
    if lines.is_empty() {
        let count = |verb: Verb| entry.changes.iter().filter(|change| change.verb == verb).count();
        let words = [
            ("created", Verb::Create),
            ("changed", Verb::Change),
            ("removed", Verb::Remove),
            ("corrected", Verb::Correct),
        ];
        let counts = words.into_iter().map(|(word, verb)| (word, count(verb))).filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts.map(|(word, count)| format!("{count} {word}")).collect();
        lines.extend(Some(counts.join(", ")).filter(|line| !line.is_empty()));
    }
    lines
}

/// Returns one word for how a generation ended.
pub(super) fn word(generation: &Generation) -> &'static str {
    match generation.outcome.as_ref().map(|outcome| outcome.ending) {
        Some(Ending::Committed) => "good",
        Some(Ending::Abandoned) => "abandoned",
        Some(Ending::RolledBack) => "rolled-back",
        Some(Ending::Stuck) => "failed",
        Some(Ending::Interrupted) => "interrupted",
        Some(Ending::Rehearsed) => "rehearsed",
        None => "unfinished",
    }
}
