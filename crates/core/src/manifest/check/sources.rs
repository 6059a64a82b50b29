//! The source of each model: whether the provider's engine can serve it.

use super::checker::Checker;
use crate::engines::Models;
use crate::manifest::source::Source;
use crate::manifest::types::{Managed, Model, Provider};
use crate::manifest::values::Entry;
use crate::resource::{Note, OllamaName};

const FILES: &str = "write `hf:org/repository/file.gguf`, `https:…`, `file:PATH` or `{command: [...]}`";
const FOLDERS: &str = "write `hf:org/repository`, with `@revision` if you like, or a folder as `file:PATH`";

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    for entry in &manifest.models {
        if let Some(provider) = manifest.providers.find(&entry.value.provider) {
            model(checker, provider, entry);
        }
    }
}

fn model(checker: &mut Checker<'_>, provider: &Provider, entry: &Entry<Model>) {
    let engine = provider.engine.value.0;
    let managed = provider.manage.as_ref().is_some_and(|manage| manage.value == Managed::Models);
    let problem = match (engine.models(), provider.is_external()) {
        (Models::Pulled, external) if !external || managed => pulled(entry).map(|why| (why, None)),
        (Models::Upstream, _) => match source(entry) {
            Some(Source::Command(_)) => Some(("an endpoint has its models, and none is made".to_owned(), Some(NAME))),
            _ => None,
        },
        (_, true) => elsewhere(entry).map(|why| (why, Some(NAME))),
        (Models::Repository, false) => {
            digest_of_many(checker, engine.title(), entry);
            if missing(checker, entry, FOLDERS) {
                return;
            }
            folder(engine.title(), entry).map(|why| (why, Some(FOLDERS)))
        }
        (Models::File | Models::Pulled, false) => {
            if missing(checker, entry, FILES) {
                return;
            }
            file(entry).map(|why| (why, Some(FILES)))
        }
    };
    let Some((why, hint)) = problem else { return };
    let (path, span) = match &entry.value.source {
        Some(source) => (format!("models.{}.source", entry.name.value), &source.span),
        None => (format!("models.{}", entry.name.value), &entry.name.span),
    };
    let note = Note::error("source", why);
    checker.at(hint.into_iter().fold(note, Note::hint), path, span);
}

const NAME: &str = "write the name by which that server offers the model, or remove `source`";

fn source(entry: &Entry<Model>) -> Option<&Source> {
    entry.value.source.as_ref().map(|source| &source.value)
}

/// Notes a source that is not there; returns whether there is none that could be read.
fn missing(checker: &mut Checker<'_>, entry: &Entry<Model>, forms: &str) -> bool {
    let path = format!("models.{}", entry.name.value);
    if entry.value.source.is_none() && !checker.declares(&path, "source") {
        checker.at(Note::error("missing-field", "`source` is missing").hint(forms), path, &entry.name.span);
    }
    entry.value.source.is_none()
}

fn digest_of_many(checker: &mut Checker<'_>, title: &str, entry: &Entry<Model>) {
    let Some(sha256) = &entry.value.sha256 else { return };
    let note = Note::error("sha256", format!("a model of {title} is many files, and this is the digest of one"));
    let hint = "pin it by its commit: `hf:org/repository@COMMIT`";
    checker.at(note.hint(hint), format!("models.{}.sha256", entry.name.value), &sha256.span);
}

fn file(entry: &Entry<Model>) -> Option<String> {
    match source(entry)? {
        Source::Hub(hub) if hub.file.is_none() => Some(format!("`{hub}` names no file of the repository")),
        Source::Hub(_) | Source::Url(_) | Source::File(_) | Source::Command(_) => None,
        source @ (Source::Name(_) | Source::Path(_)) => Some(format!("`{source}` is not the source of a file")),
    }
}

fn folder(title: &str, entry: &Entry<Model>) -> Option<String> {
    let source = source(entry)?;
    let why = match source {
        Source::Command(_) => return Some(format!("{title} serves a folder, and a command makes a file")),
        Source::Hub(hub) if hub.file.is_some() => "it takes a whole repository and not a file of one",
        Source::Url(_) => "it takes a folder or a repository and no download",
        Source::Name(_) => "it is neither a folder nor a repository",
        Source::Hub(_) | Source::Path(_) | Source::File(_) => return None,
    };
    Some(format!("{title} cannot serve `{source}`: {why}"))
}

fn pulled(entry: &Entry<Model>) -> Option<String> {
    match source(entry) {
        // Resolving reports that this is not supported yet.
        Some(Source::Command(_)) => None,
        Some(source) => source.ollama_name().err(),
        None => {
            let name = &entry.name.value;
            OllamaName::parse(name).err().map(|why| format!("Ollama cannot pull `{name}`: {why}"))
        }
    }
}

/// Checks the name of a model on a server that llamero does not run.
fn elsewhere(entry: &Entry<Model>) -> Option<String> {
    match source(entry)? {
        Source::Name(_) | Source::Path(_) => None,
        source => Some(format!("llamero does not run this provider's server, and so cannot provide `{source}`")),
    }
}
