//! Checks of references: providers, fallbacks, GPUs, and the parts that a service starts after.

use super::checker::Checker;
use crate::manifest::suggest;
use crate::resource::Note;
use std::collections::BTreeSet;
use std::ops::Range;

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let providers = Names::new("provider", checker.names("providers"));
    let models = Names::new("model", checker.names("models"));
    for model in &manifest.models {
        let path = format!("models.{}", model.name.value);
        let provider = &model.value.provider;
        look_up(checker, &provider.value, &providers, &format!("{path}.provider"), &provider.span);
        for fallback in &model.value.fallbacks {
            let path = format!("{path}.fallbacks");
            look_up(checker, &fallback.value, &models, &path, &fallback.span);
            if fallback.value == model.name.value {
                let note = Note::error("fallback", format!("`{}` falls back to itself", fallback.value));
                checker.at(note, path, &fallback.span);
            }
        }
    }
    if let Some(gpus) = &manifest.machine.gpus {
        let known = Names::new("GPU", gpus.iter().map(|gpu| gpu.device.to_string()));
        for provider in &manifest.providers {
            for gpu in &provider.value.gpus {
                let path = format!("providers.{}.gpus", provider.name.value);
                look_up(checker, &gpu.value.to_string(), &known, &path, &gpu.span);
            }
        }
    }
    if let Some(canary) = &manifest.policy.canary {
        look_up(checker, &canary.value, &models, "policy.canary", &canary.span);
    }
    let roles = ["cache", "gateway"].into_iter().filter(|role| checker.tree.field(role).is_some());
    let services = checker.names("services");
    let startable = Names::new("part", providers.listed.into_iter().chain(services).chain(roles.map(str::to_owned)));
    for service in &manifest.services {
        for after in &service.value.after {
            let path = format!("services.{}.after", service.name.value);
            look_up(checker, &after.value, &startable, &path, &after.span);
        }
    }
}

/// Names that can be referred to: in the order of the manifest for messages, as a set for lookup.
struct Names {
    /// The kind of thing that they name.
    what: &'static str,
    listed: Vec<String>,
    set: BTreeSet<String>,
}

impl Names {
    fn new(what: &'static str, names: impl IntoIterator<Item = String>) -> Self {
        let listed: Vec<String> = names.into_iter().collect();
        Self { what, set: listed.iter().cloned().collect(), listed }
    }
}

fn look_up(checker: &mut Checker<'_>, name: &str, known: &Names, path: &str, span: &Range<usize>) {
    let what = known.what;
    // Where the referenced section could not be decoded, that was reported already.
    let unread = matches!(what, "provider" | "model") && !checker.is_mapping(&format!("{what}s"));
    if unread || known.set.contains(name) {
        return;
    }
    let known: Vec<&str> = known.listed.iter().map(String::as_str).collect();
    let mut note = Note::error("unknown-reference", format!("there is no {what} `{name}`"));
    note.hint = suggest::hint(name, &known, "there are");
    checker.at(note, path, span);
}
