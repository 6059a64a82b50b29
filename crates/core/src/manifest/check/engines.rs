//! The settings and models that an engine can be given, by what the engine says of itself.

use super::Checker;
use crate::engines::{Models, Problem, Provider as Engine};
use crate::manifest::common::RuntimeName;
use crate::manifest::suggest;
use crate::manifest::types::{Model, Provider};
use crate::manifest::values::{Entry, Source};
use crate::resource::Note;
use std::ops::Range;

const FORMS: &str = "write `hf:org/repository`, with `@revision` if you like, or a folder as `file:PATH`";

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let runs = |provider: &Provider| {
        let external = provider.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External);
        provider.engine.value.models() != Models::Upstream && !external
    };
    for entry in manifest.providers.iter().filter(|entry| runs(&entry.value)) {
        settings(checker, entry);
    }
    for entry in &manifest.models {
        let Some(provider) = manifest.providers.find(&entry.value.provider).filter(|provider| runs(provider)) else {
            continue;
        };
        let engine = provider.engine.value.0;
        if engine.models() == Models::Repository {
            source(checker, engine, entry);
        }
        unused(checker, engine, entry);
    }
}

fn settings(checker: &mut Checker<'_>, entry: &Entry<Provider>) {
    let path = format!("providers.{}.settings", entry.name.value);
    let engine = entry.value.engine.value.0;
    let settings = &entry.value.settings.0;
    let place = |checker: &Checker<'_>, path: &str| checker.key(path).unwrap_or_else(|| entry.name.span.clone());
    if !settings.is_object() && !settings.is_null() {
        let note = Note::error("wrong-type", format!("`settings` is a mapping of {}'s settings", engine.title()));
        let span = place(checker, &path);
        let hint = engine.settings().known.first().map(|setting| format!("write `settings: {{{}: …}}`", setting.name));
        let hint = hint.unwrap_or_else(|| engine.settings().others.to_owned());
        checker.at(note.hint(hint), &path, &span);
    }
    for (name, problem) in engine.settings().read(settings).1 {
        let path = format!("{path}.{name}");
        let span = place(checker, &path);
        checker.at(note(engine, &name, &problem), path, &span);
    }
}

fn note(engine: &dyn Engine, name: &str, problem: &Problem) -> Note {
    let settings = engine.settings();
    if let Problem::Expected(expected) = problem {
        return Note::error("bad-value", format!("`{name}` does not fit here")).hint(format!("it is {expected}"));
    }
    let message = format!("`{name}` is not a setting of {} that llamero knows", engine.title());
    let note = Note::error("unknown-key", message);
    if let Some((_, place)) = settings.elsewhere.iter().find(|(elsewhere, _)| *elsewhere == name) {
        return note.hint(format!("write {place}"));
    }
    match suggest::nearest(name, settings.known.iter().map(|setting| setting.name)) {
        Some(nearest) => note.hint(format!("did you mean `{nearest}`?")),
        None => note.hint(settings.others),
    }
}

fn source(checker: &mut Checker<'_>, engine: &dyn Engine, entry: &Entry<Model>) {
    let path = format!("models.{}", entry.name.value);
    let title = engine.title();
    if let Some(sha256) = &entry.value.sha256 {
        let note = Note::error("sha256", format!("a model of {title} is many files, and this is the digest of one"));
        let hint = "pin it by its commit: `hf:org/repository@COMMIT`";
        checker.at(note.hint(hint), format!("{path}.sha256"), &sha256.span);
    }
    let Some(source) = &entry.value.source else {
        if !checker.says(&path, "source") {
            let note = Note::error("missing-field", "`source` is missing");
            checker.at(note.hint(FORMS), path, &entry.name.span);
        }
        return;
    };
    let wrong = match &source.value {
        Source::Command(_) => Some(format!("{title} serves a folder, and a command makes a file")),
        Source::Text(text) => problem(text).map(|wrong| format!("{title} cannot serve `{text}`: {wrong}")),
    };
    if let Some(wrong) = wrong {
        checker.at(Note::error("source", wrong).hint(FORMS), format!("{path}.source"), &source.span);
    }
}

fn problem(text: &str) -> Option<&'static str> {
    if let Some(rest) = text.strip_prefix("hf:") {
        let (repository, revision) = rest.split_once('@').map_or((rest, None), |(it, revision)| (it, Some(revision)));
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() > 2 {
            return Some("it takes a whole repository and not a file of one");
        }
        let named = parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && !matches!(*part, "." | ".."));
        return if named {
            revision.filter(|revision| revision.is_empty()).map(|_| "no revision stands behind `@`")
        } else {
            Some("it names no repository")
        };
    }
    if let Some(folder) = text.strip_prefix("file:") {
        return folder.trim_start_matches("//").is_empty().then_some("it names no folder");
    }
    (!text.starts_with(['/', '.', '~', '$'])).then_some("it is neither a folder nor a repository")
}

fn unused(checker: &mut Checker<'_>, engine: &dyn Engine, entry: &Entry<Model>) {
    let path = format!("models.{}", entry.name.value);
    for name in engine.unused() {
        if let Some(span) = span_of(&entry.value, name) {
            let note = Note::warning("unused", format!("`{name}` means nothing to {}", engine.title()));
            checker.at(note.hint("leave it out"), format!("{path}.{name}"), &span);
        }
    }
}

/// Returns the place of a field of a model that only some engines take.
fn span_of(model: &Model, name: &str) -> Option<Range<usize>> {
    match name {
        "flash_attention" => model.flash_attention.as_ref().map(|field| field.span.clone()),
        "gpu_layers" => model.gpu_layers.as_ref().map(|field| field.span.clone()),
        "kv_cache_type" => model.kv_cache_type.as_ref().map(|field| field.span.clone()),
        "parallel" => model.parallel.as_ref().map(|field| field.span.clone()),
        _ => None,
    }
}
