//! Notes as text that points into the manifest, in the form that compilers made familiar.

use crate::resource::{Note, Place};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Returns the notes as text, each with the lines that it is about.
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
    if let Some(Place { path: keys, span, .. }) = note.place.as_ref().filter(|_| !text.is_empty()) {
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

/// Breaks a hint into lines that fit beside the margin.
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

/// Covers what may be a secret, so that a report can be shown to others.
fn mask(text: &str, notes: &[Note]) -> String {
    let mut masked = text.to_owned();
    for note in notes.iter().filter(|note| note.message.contains("in clear")) {
        let Some(place) = &note.place else { continue };
        if masked.get(place.span.clone()).is_some_and(|secret| !secret.contains('\n')) {
            let stars = "*".repeat(place.span.len());
            masked.replace_range(place.span.clone(), &stars);
        }
    }
    masked
}
