//! Flags and variables that llamero renders itself, and that the manifest must not give a second time.

use super::checker::Checker;
use crate::engines::Rendered;
use crate::manifest::common::{Common, RuntimeName};
use crate::manifest::yaml::{Node, Value};
use crate::resource::Note;
use std::ops::Range;

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    for entry in manifest.providers.iter().filter(|entry| !entry.value.is_external()) {
        let provider = &entry.value;
        let path = format!("providers.{}", entry.name.value);
        let engine = provider.engine.value.0;
        let given: Vec<&str> = provider.settings.0.as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
        let owned = Owned { rendered: engine.renders(), program: engine.program(), settings: &given };
        commands(checker, &path, &owned);
        for model in manifest.models.iter().filter(|model| model.value.provider.value == entry.name.value) {
            commands(checker, &format!("models.{}", model.name.value), &owned);
        }
        let in_container = provider.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker);
        let has_gpus = !provider.gpus.is_empty() && !in_container;
        variables(checker, &path, provider.common(), &owned, has_gpus);
    }
    let nothing: &[&str] = &[];
    if let Some(cache) = manifest.cache.as_ref() {
        let engine = cache.engine.value;
        let owned = Owned { rendered: engine.renders(), program: engine.program(), settings: nothing };
        commands(checker, "cache", &owned);
        variables(checker, "cache", cache.common(), &owned, false);
    }
    if let Some(gateway) = manifest.gateway.as_ref() {
        let engine = gateway.engine.value;
        let owned = Owned { rendered: engine.renders(), program: engine.program(), settings: nothing };
        commands(checker, "gateway", &owned);
        variables(checker, "gateway", gateway.common(), &owned, false);
    }
    for entry in &manifest.services {
        let owned = Owned { rendered: &Rendered::NOTHING, program: None, settings: nothing };
        variables(checker, &format!("services.{}", entry.name.value), entry.value.common(), &owned, false);
    }
}

/// The flags and variables that llamero renders for a server.
struct Owned<'a> {
    rendered: &'static Rendered,
    /// The engine's program.
    program: Option<&'static str>,
    /// The settings that the manifest gives.
    settings: &'a [&'a str],
}

impl Owned<'_> {
    fn flag(&self, word: &str) -> Option<String> {
        let word = word.split('=').next().unwrap_or_default();
        if !word.starts_with('-') {
            return None;
        }
        if let Some(remedy) = self.rendered.flag(word) {
            return Some(format!("write {remedy}"));
        }
        let setting = self.rendered.setting_of_flag(word)?;
        self.given(&setting)
    }

    fn variable(&self, name: &str) -> Option<String> {
        if let Some(remedy) = self.rendered.variable(name) {
            return Some(format!("write {remedy}"));
        }
        let setting = self.rendered.setting_of_variable(name)?;
        self.given(&setting)
    }

    fn given(&self, setting: &str) -> Option<String> {
        let given = self.settings.contains(&setting);
        given.then(|| format!("remove one of the two: `settings` gives `{setting}`"))
    }
}

/// Notes every word of a command that llamero renders itself.
fn commands(checker: &mut Checker<'_>, path: &str, owned: &Owned<'_>) {
    let Some(node) = checker.node(path) else { return };
    for field in ["args", "command"] {
        let words = node.field(field).map(words).unwrap_or_default();
        let program = words.first().and_then(|(word, _)| word.rsplit('/').next());
        // The flags of another program mean something else.
        if field == "command" && program != owned.program {
            continue;
        }
        for (word, span) in &words {
            if let Some(hint) = owned.flag(word) {
                let flag = word.split('=').next().unwrap_or_default();
                let note = Note::error("clash", format!("llamero renders `{flag}` itself"));
                checker.at(note.hint(hint), format!("{path}.{field}"), span);
            }
        }
    }
}

fn words(node: &Node) -> Vec<(String, Range<usize>)> {
    let Value::List(words) = &node.value else { return Vec::new() };
    let text = |word: &Node| match &word.value {
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    words.iter().map(|word| (text(word), word.span.clone())).collect()
}

/// Notes every variable that llamero renders itself.
fn variables(checker: &mut Checker<'_>, path: &str, common: Common<'_>, owned: &Owned<'_>, has_gpus: bool) {
    let named = |section: &'static str| move |name: &str| format!("{path}.{section}.{name}");
    let env = common.env.iter().map(|entry| (&entry.name, named("env")(&entry.name.value)));
    let secrets = common.secrets.iter().map(|entry| (&entry.name, named("secrets")(&entry.name.value)));
    for (name, path) in env.chain(secrets) {
        let hint = if name.value.starts_with("LLAMERO_") {
            Some("variables that begin with `LLAMERO_` are llamero's own: choose another name".to_owned())
        } else if has_gpus && matches!(name.value.as_str(), "CUDA_VISIBLE_DEVICES" | "CUDA_DEVICE_ORDER") {
            Some("remove one of the two: `gpus` gives the GPUs".to_owned())
        } else {
            owned.variable(&name.value)
        };
        if let Some(hint) = hint {
            let note = Note::error("clash", format!("llamero renders `{}` itself", name.value));
            checker.at(note.hint(hint), path, &name.span);
        }
    }
}
