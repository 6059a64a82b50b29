//! `llamero show`: one generation, with its desired state and its outcome.

use super::super::arguments::StackArgument;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print, print_json};
use super::history::word;
use crate::history::{RecordedChange, StepResult};
use serde_json::json;

/// The version of the JSON form.
const SCHEMA: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The generation
    #[arg(value_name = "GENERATION")]
    generation: u64,
    #[command(flatten)]
    stack: StackArgument,
    /// Print the manifest that it was made of, and nothing else
    #[arg(long)]
    manifest_text: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = input::stack(&arguments.stack)?;
    let generation = stack.history.load(arguments.generation)?;
    let revision = &generation.revision;
    if arguments.manifest_text {
        print(&revision.manifest_text)?;
        return Ok(Exit::Done);
    }
    if arguments.json {
        let resources: Vec<_> = revision.desired.resources.values().collect();
        print_json(&json!({
            "schema": SCHEMA, "stack": stack.name, "generation": generation.number, "begun": revision.begun,
            "llamero": revision.llamero, "manifest": revision.manifest, "origin": revision.origin, "resources": resources,
            "changes": revision.changes, "outcome": generation.outcome.as_deref(),
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("generation {} of {}: {}\n", generation.number, stack.name, word(&generation));
    text.push_str(&format!("  begun     {}\n  by        llamero {}\n", revision.begun, revision.llamero));
    match &revision.origin {
        Some(origin) => text.push_str(&format!("  from      {origin}\n")),
        None => text.push_str(&format!("  from      {}\n", revision.manifest.display())),
    }
    if !revision.changes.is_empty() {
        text.push_str("changes\n");
    }
    for RecordedChange { on, verb, causes } in &revision.changes {
        let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  {} {:<38} {}\n", verb.sign(), on, causes.join("; ")));
    }
    text.push_str("resources\n");
    for resource in revision.desired.resources.values() {
        text.push_str(&format!("  {:<40} {}\n", resource.id, resource.role));
    }
    if let Some(outcome) = &generation.outcome {
        if let Some(why) = &outcome.why {
            text.push_str(&format!("why\n  {why}\n"));
        }
        text.push_str("steps\n");
        for step in outcome.steps.iter().chain(&outcome.rollback) {
            let result = match step.result {
                StepResult::Done => "done",
                StepResult::Failed => "failed",
                StepResult::NotAttempted => "not attempted",
            };
            let why = step.why.as_ref().and_then(|why| why.lines().next()).map(|why| format!(": {why}"));
            text.push_str(&format!("  {result:<13} {}{}\n", step.step, why.unwrap_or_default()));
        }
    }
    print(&text)?;
    Ok(Exit::Done)
}
