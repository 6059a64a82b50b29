//! Reports of notes as text that points into the manifest, in the style of compiler errors.

use super::suggest::looks_secret;
use crate::resource::{Location, Note};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// Returns the notes as text, each with the lines concerned.
#[must_use]
pub fn report(path: &str, text: &str, notes: &[Note], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(80);
    let masked = mask(text, notes);
    let rendered: Vec<String> = notes.iter().map(|note| one(&renderer, path, &masked, note)).collect();
    let mut report = rendered.join("\n\n");
    report.push('\n');
    report
}

fn one(renderer: &Renderer, path: &str, text: &str, note: &Note) -> String {
    let level = if note.is_error() { Level::ERROR } else { Level::WARNING };
    let mut group = Group::with_title(level.primary_title(note.message.as_str()).id(note.code.as_str()));
    if let Some(Location { path: keys, span, .. }) = note.place.as_ref().filter(|_| !text.is_empty()) {
        let span = span.start.min(text.len())..span.end.min(text.len());
        let label = if keys.is_empty() { "here" } else { keys.as_str() };
        let annotation = AnnotationKind::Primary.span(span).label(label);
        group = group.element(Snippet::source(text).path(path).annotation(annotation));
    }
    if let Some(hint) = &note.hint {
        group = group.element(Level::HELP.message(wrapped(hint)));
    }
    renderer.render(&[group])
}

/// Wraps a hint into lines that fit beside the margin.
fn wrapped(hint: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in hint.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > 70 {
            lines.push(word.to_owned());
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

/// Masks possible secrets, so that a report can be shared. Every character becomes as many stars as it has bytes, so
/// that locations stay the same.
fn mask(text: &str, notes: &[Note]) -> String {
    let mut covered: Vec<Range<usize>> = secret_values(text);
    let clear = notes.iter().filter(|note| note.code == "secret-in-clear");
    let spans = clear.filter_map(|note| Some(note.place.as_ref()?.span.clone()));
    // The location of a list is its key.
    covered.extend(spans.filter(|span| !text.get(span.end..).is_some_and(|rest| rest.starts_with(':'))));
    let stars = |(index, c): (usize, char)| {
        let cover = !c.is_whitespace() && covered.iter().any(|span| span.contains(&index));
        if cover { "*".repeat(c.len_utf8()) } else { c.to_string() }
    };
    if covered.is_empty() { text.to_owned() } else { text.char_indices().map(stars).collect() }
}

/// Finds the values of keys that look like secrets, line by line: an unparsable file may contain secrets too.
fn secret_values(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        for (colon, _) in line.match_indices(": ") {
            let key = line[..colon].trim_end_matches(['"', '\'']);
            let key = key.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let value = line[colon + 1..].trim_start();
            // A reference to a secret, or a text that begins on the next line.
            if !looks_secret(key) || value.starts_with(['{', '|', '>', '#']) {
                continue;
            }
            let begin = line.len() - value.len();
            let end = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
                Some('[') => value.find(']').map_or(value.len(), |end| end + 1),
                _ => value.find([',', '}']).unwrap_or(value.len()),
            };
            spans.push(start + begin..start + begin + end);
        }
        start += line.len();
    }
    spans
}
