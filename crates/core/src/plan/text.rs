//! A plan as lines of text, the same with and without colour, within 80 columns.
//!
//! The text is deterministic. The caller adds colours by a line's [`Tone`].

use super::cause::Cause;
use super::change::{Change, Disruption, Refusal, Verb};
use super::result::Plan;
use super::rollout::{CanarySkipped, Rollout, Trial};
use super::step::Action;
use super::warn::Warning;
use crate::resource::Bytes;

const WIDTH: usize = 80;

/// The subject of a line, for colouring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A creation.
    Create,
    /// A change.
    Change,
    /// A removal.
    Remove,
    /// A repair of drift.
    Correct,
    /// What is unknown.
    Unknown,
    /// A conflict.
    Refusal,
    /// A detail of the line before.
    Detail,
    /// The summary.
    Summary,
}

/// One line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its subject.
    pub tone: Tone,
    /// Its text, without a line break.
    pub text: String,
}

/// Returns the plan as lines: one for each change with its causes below, then the conflicts, then the summary.
#[must_use]
pub fn lines(plan: &Plan) -> Vec<Line> {
    detailed(plan, false)
}

/// Returns the plan as lines; with `verbose` also the differing rendered fields beside the settings of the manifest, and
/// every call.
#[must_use]
pub fn detailed(plan: &Plan, verbose: bool) -> Vec<Line> {
    let ids = plan.changes.iter().map(|change| &change.on).chain(plan.undetermined.iter().map(|unknown| &unknown.on));
    let width = ids.map(|id| id.to_string().chars().count()).max().unwrap_or(0).min(40);
    let mut lines: Vec<Line> = plan.changes.iter().flat_map(|change| change_lines(change, width, verbose)).collect();
    let others = beside_resources(plan);
    lines.extend(others.iter().map(|(verb, what)| {
        let tone = if *verb == Verb::Create { Tone::Create } else { Tone::Remove };
        Line { tone, text: format!("{} {:<7} {what}", verb.sign(), verb.to_string()) }
    }));
    lines.extend(plan.undetermined.iter().flat_map(|unknown| {
        let id = unknown.on.to_string();
        head_lines(Tone::Unknown, &format!("? {:<7} {id:<width$}", "unknown"), &unknown.to_string())
    }));
    lines.extend(plan.kept.iter().flat_map(|kept| wrapped(Tone::Detail, "  kept: ", "    ", &kept.to_string())));
    lines.extend(plan.rollout.iter().flat_map(|rollout| wrapped(Tone::Detail, "", "", &begins(rollout))));
    if verbose {
        lines.extend(calls(plan));
    }
    for Refusal { message, hint, .. } in &plan.refusals {
        lines.extend(wrapped(Tone::Refusal, "x ", "  ", message));
        if let Some(hint) = hint {
            lines.extend(wrapped(Tone::Detail, "  hint: ", "        ", hint));
        }
    }
    lines.extend(warning_lines(&plan.warnings));
    lines.push(Line { tone: Tone::Summary, text: summary(plan) });
    lines
}

/// Returns the calls of each phase, with what each waits for.
fn calls(plan: &Plan) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut phase = None;
    for step in &plan.steps {
        if phase.replace(step.phase) != Some(step.phase) {
            lines.push(Line { tone: Tone::Detail, text: format!("  {}:", step.phase) });
        }
        lines.extend(wrapped(Tone::Detail, "    ", "      ", &step.to_string()));
    }
    lines
}

/// Returns what steps create and remove that is no resource: networks, volumes, folders and records.
fn beside_resources(plan: &Plan) -> Vec<(Verb, String)> {
    let other = |action: &Action| match action {
        Action::Prepare { what, .. } => Some((Verb::Create, what.to_string())),
        Action::RemoveNetwork { name, .. } => Some((Verb::Remove, format!("network {name}"))),
        Action::Purge(remnant) => Some((Verb::Remove, remnant.to_string())),
        _ => None,
    };
    let mut others = Vec::new();
    for other in plan.steps.iter().filter_map(|step| other(&step.action)) {
        // Both parts of a canary rollout may create it.
        if !others.contains(&other) {
            others.push(other);
        }
    }
    others
}

/// Returns warnings as lines.
#[must_use]
pub fn warning_lines(warnings: &[Warning]) -> Vec<Line> {
    let one = |Warning { message, hint }: &Warning| {
        let mut lines = wrapped(Tone::Correct, "warning: ", "  ", message);
        if let Some(hint) = hint {
            lines.extend(wrapped(Tone::Detail, "  hint: ", "        ", hint));
        }
        lines
    };
    warnings.iter().flat_map(one).collect()
}

/// Describes the start of a canary rollout.
fn begins(rollout: &Rollout) -> String {
    let (model, why) = match rollout {
        Rollout::WithOne { trial: Trial { model, duration, .. }, again } => {
            let answered = format!("once requests for it have succeeded for {duration}");
            return match again {
                None => format!("the change is verified once requests for `{model}` have succeeded for {duration}"),
                Some(false) => format!("the route of `{model}` changes first, and the others {answered}"),
                Some(true) => format!(
                    "the route of `{model}` changes first, and the others {answered}; the gateway restarts for each"
                ),
            };
        }
        Rollout::WithAll { model, why } => (model, why),
    };
    match why {
        CanarySkipped::Same => format!("the route of `{model}` does not change, so all others change without a trial"),
        CanarySkipped::Unknown => {
            format!("the previous routes are unknown, so all change without a trial of `{model}`")
        }
        CanarySkipped::Unhealthy => {
            format!("the gateway is unhealthy, so all routes change without a trial of `{model}`")
        }
    }
}

/// Returns the summary of a plan in one line.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let others = beside_resources(plan);
    let count = |verb| {
        let changes = plan.changes.iter().filter(|change| change.verb == verb && !change.left).count();
        changes + others.iter().filter(|(other, _)| *other == verb).count()
    };
    let left = plan.changes.iter().filter(|change| change.left).count();
    let mut parts: Vec<String> = [
        (Verb::Create, "to create"),
        (Verb::Change, "to change"),
        (Verb::Correct, "to correct"),
        (Verb::Remove, "to remove"),
    ]
    .into_iter()
    .filter_map(|(verb, words)| Some(format!("{} {words}", Some(count(verb)).filter(|count| *count > 0)?)))
    .collect();
    if left > 0 {
        parts.push(format!("{left} left as found"));
    }
    if !plan.refusals.is_empty() {
        let sum = plan.refusals.len();
        return format!("Blocked: {sum} {}.", if sum == 1 { "conflict" } else { "conflicts" });
    }
    let unknown = plan.undetermined.len();
    if parts.is_empty() && unknown > 0 {
        let depend = if unknown == 1 { "1 depends" } else { &format!("{unknown} depend") };
        return format!("No certain change: {} as declared, {depend} on unknown secrets.", counted(plan.unchanged));
    }
    if parts.is_empty() {
        return format!("Nothing to do: {} as declared.", counted(plan.unchanged));
    }
    parts.push(format!("{} unchanged", plan.unchanged));
    if unknown > 0 {
        parts.push(format!("{unknown} unknown"));
    }
    format!("Plan: {}.", parts.join(", "))
}

fn counted(count: usize) -> String {
    if count == 1 { "1 resource is".to_owned() } else { format!("{count} resources are") }
}

fn change_lines(change: &Change, width: usize, fields: bool) -> Vec<Line> {
    let tone = match change.verb {
        Verb::Create => Tone::Create,
        Verb::Change => Tone::Change,
        Verb::Remove => Tone::Remove,
        Verb::Correct => Tone::Correct,
    };
    let id = change.on.to_string();
    let head = format!("{} {:<7} {id:<width$}", change.verb.sign(), change.verb.to_string());
    let consequence = consequence(change);
    let printed = |cause: &Cause| if fields { cause.detailed() } else { cause.to_string() };
    let mut causes = change.causes.as_slice();
    let mut tail = consequence;
    // A cause that only repeats the verb stands on the same line or is omitted.
    if let [Cause::Declared | Cause::Undeclared] = causes {
        causes = &[];
    }
    if tail.is_empty()
        && let [only] = causes
    {
        tail = printed(only);
        causes = &[];
    }
    let mut lines = head_lines(tone, &head, &tail);
    if let Some(detail) = change.detail.as_ref().filter(|_| matches!(change.verb, Verb::Create | Verb::Remove)) {
        lines.extend(wrapped(Tone::Detail, "    ", "    ", detail));
    }
    for cause in causes {
        lines.extend(wrapped(Tone::Detail, "    ", "      ", &printed(cause)));
    }
    lines
}

/// Returns the first line of an entry, with the rest below where it does not fit.
fn head_lines(tone: Tone, head: &str, tail: &str) -> Vec<Line> {
    if head.chars().count() + 2 + tail.chars().count() <= WIDTH {
        return vec![Line { tone, text: format!("{head}  {tail}").trim_end().to_owned() }];
    }
    let mut lines = vec![Line { tone, text: head.trim_end().to_owned() }];
    lines.extend(wrapped(Tone::Detail, "    ", "    ", tail));
    lines
}

fn consequence(change: &Change) -> String {
    let consequence = &change.consequence;
    let mut parts = Vec::new();
    let disruption = match consequence.disruption {
        Disruption::None => None,
        Disruption::Start => Some("start"),
        Disruption::HandOff => Some("handed off"),
        Disruption::Restart => Some("restart"),
        Disruption::Stop => Some("stop"),
    };
    if let Some(disruption) = disruption {
        let expected = consequence.expected.map(|time| format!(", healthy after {time} the last time"));
        parts.push(format!("{disruption}{}", expected.unwrap_or_default()));
    }
    match consequence.download {
        Some(Some(size)) => parts.push(format!("download {size}")),
        Some(None) => parts.push("download of unknown size".to_owned()),
        None => {}
    }
    if let Some((before, after)) = consequence.memory {
        let shown = |bytes: Bytes| if bytes.0 == 0 { "none".to_owned() } else { bytes.to_string() };
        parts.push(format!("memory {} → {}", shown(before), shown(after)));
    }
    if change.left {
        parts.push(match change.verb {
            Verb::Remove => "left as found (prune: false)".to_owned(),
            _ if change.causes.iter().all(Cause::is_setting) => "left as found".to_owned(),
            _ => "left as found (drift: warn)".to_owned(),
        });
    }
    parts.join("; ")
}

/// Wraps `text` at white space; a word longer than a line is not broken.
fn wrapped(tone: Tone, first: &str, rest: &str, text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(Line { tone, text: std::mem::replace(&mut line, rest.to_owned()) });
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(Line { tone, text: line });
    lines
}
