//! The settings that an engine can be given, by what the engine says of itself.

use super::checker::Checker;
use crate::engines::{Problem, Provider as Engine};
use crate::manifest::suggest;
use crate::manifest::types::{Model, Provider};
use crate::manifest::values::Entry;
use crate::resource::Note;

pub(super) fn check(checker: &mut Checker<'_>) {
    for entry in checker.manifest.providers.iter().filter(|entry| !entry.value.is_external()) {
        settings(checker, entry);
    }
    for entry in &checker.manifest.models {
        parameters(checker, entry);
    }
}

/// Checks the parameters of a model that its engine makes.
fn parameters(checker: &mut Checker<'_>, entry: &Entry<Model>) {
    let (Some(given), Some(provider)) =
        (&entry.value.parameters, checker.manifest.providers.find(&entry.value.provider))
    else {
        return;
    };
    let engine = provider.engine.value.0;
    let known = engine.model_fields().parameters;
    // Where an engine has none, the field is reported as unused.
    if known.known.is_empty() {
        return;
    }
    let path = format!("models.{}.parameters", entry.name.value);
    if !given.value.0.is_object() {
        let message = format!("`parameters` is a mapping of {}'s parameters", engine.title());
        let note = Note::error("wrong-type", message).hint("write `parameters: {temperature: 0.7}`");
        checker.at(note, &path, &given.span);
    }
    for (name, problem) in known.read(&given.value.0).1 {
        let path = format!("{path}.{name}");
        let span = checker.key(&path).unwrap_or_else(|| given.span.clone());
        checker.at(note_on_parameter(engine, &name, &problem), path, &span);
    }
}

fn note_on_parameter(engine: &dyn Engine, name: &str, problem: &Problem) -> Note {
    let parameters = engine.model_fields().parameters;
    if let Problem::Expected(expected) = problem {
        return Note::error("bad-value", format!("`{name}` does not fit here")).hint(format!("it is {expected}"));
    }
    if let Some((_, place)) = parameters.elsewhere.iter().find(|(elsewhere, _)| *elsewhere == name) {
        let message = format!("`{name}` is not set among the parameters");
        return Note::error("unknown-key", message).hint(format!("write {place}"));
    }
    let note = Note::error("unknown-key", format!("`{name}` is not a parameter of {}'s models", engine.title()));
    let names: Vec<&str> = parameters.known.iter().map(|(name, _)| *name).collect();
    match suggest::hint(name, &names, "its parameters are") {
        Some(hint) => note.hint(hint),
        None => note,
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
