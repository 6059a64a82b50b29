//! What vLLM can be given: its settings, and models that are a folder or a whole repository.

use super::Checker;
use crate::manifest::common::RuntimeName;
use crate::manifest::types::{Engine, Model, Provider};
use crate::manifest::values::{Entry, Source};
use crate::manifest::vllm::vllm_flags;
use crate::resource::Note;

const FORMS: &str = "write `hf:org/repository`, with `@revision` if you like, or a folder as `file:PATH`";

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let runs = |provider: &Provider| {
        let external = provider.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External);
        provider.engine.value == Engine::Vllm && !external
    };
    for entry in manifest.providers.iter().filter(|entry| runs(&entry.value)) {
        settings(checker, entry);
    }
    for entry in &manifest.models {
        if manifest.providers.find(&entry.value.provider).is_some_and(runs) {
            source(checker, entry);
            unused(checker, entry);
        }
    }
}

fn settings(checker: &mut Checker<'_>, entry: &Entry<Provider>) {
    let path = format!("providers.{}.settings", entry.name.value);
    let settings = &entry.value.settings.0;
    let place = |checker: &Checker<'_>, path: &str| checker.key(path).unwrap_or_else(|| entry.name.span.clone());
    if !settings.is_object() && !settings.is_null() {
        let note = Note::error("wrong-type", "`settings` is a mapping of vLLM's settings");
        let span = place(checker, &path);
        checker.at(note.hint("write `settings: {dtype: bfloat16}`"), &path, &span);
    }
    for (name, note) in vllm_flags(settings).1 {
        let path = format!("{path}.{name}");
        let span = place(checker, &path);
        checker.at(note, path, &span);
    }
}

fn source(checker: &mut Checker<'_>, entry: &Entry<Model>) {
    let path = format!("models.{}", entry.name.value);
    let Some(source) = &entry.value.source else {
        if !checker.says(&path, "source") {
            let note = Note::error("missing-field", "`source` is missing");
            checker.at(note.hint(FORMS), path, &entry.name.span);
        }
        return;
    };
    let wrong = match &source.value {
        Source::Command(_) => Some("vLLM serves a folder, and a command makes a file".to_owned()),
        Source::Text(text) => problem(text).map(|wrong| format!("vLLM cannot serve `{text}`: {wrong}")),
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

fn unused(checker: &mut Checker<'_>, entry: &Entry<Model>) {
    let path = format!("models.{}", entry.name.value);
    let model = &entry.value;
    if let Some(sha256) = &model.sha256 {
        let note = Note::error("sha256", "a model of vLLM is many files, and this is the digest of one");
        checker.at(
            note.hint("pin it by its commit: `hf:org/repository@COMMIT`"),
            format!("{path}.sha256"),
            &sha256.span,
        );
    }
    let of_others = [
        ("gpu_layers", model.gpu_layers.as_ref().map(|field| &field.span)),
        ("flash_attention", model.flash_attention.as_ref().map(|field| &field.span)),
    ];
    for (name, span) in of_others {
        if let Some(span) = span {
            let note = Note::warning("unused", format!("`{name}` means nothing to vLLM"));
            checker.at(note.hint("leave it out"), format!("{path}.{name}"), span);
        }
    }
}
