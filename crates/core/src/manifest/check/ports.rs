//! Checks that no two parts of the stack listen on the same port.

use super::checker::Checker;
use crate::manifest::common::RuntimeName;
use crate::resource::Note;
use std::collections::BTreeMap;
use std::ops::Range;

pub(super) fn check(checker: &mut Checker<'_>) {
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    for (port, part, span) in claims(checker) {
        if let Some(other) = taken.get(&port) {
            let note = Note::error("port-clash", format!("`{part}` and `{other}` both listen on port {port}"));
            checker.at(note.hint("set another `port` for one of them"), part, &span);
        } else {
            taken.insert(port, part);
        }
    }
}

fn claims(checker: &mut Checker<'_>) -> Vec<(u16, String, Range<usize>)> {
    let manifest = checker.manifest;
    let runs = |runtime: Option<RuntimeName>| runtime != Some(RuntimeName::External);
    let mut claims = Vec::new();
    for provider in &manifest.providers {
        let runtime = provider.value.runtime.as_ref().map(|runtime| runtime.value);
        let Some(first) = provider.value.port.as_ref().filter(|_| runs(runtime)) else { continue };
        if !provider.value.engine.value.models().has_a_server_each() {
            claims.push((first.get(), format!("providers.{}", provider.name.value), first.span.clone()));
            continue;
        }
        let mut next = u32::from(first.get());
        for model in manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value) {
            let part = format!("models.{}", model.name.value);
            if let Some(port) = &model.value.port {
                claims.push((port.get(), part, port.span.clone()));
            } else if let Ok(port) = u16::try_from(next) {
                claims.push((port, part, model.name.span.clone()));
                next += 1;
            } else {
                let note = Note::error("port", "no port is left for this model's server");
                checker.at(note.hint("set `port`"), part, &model.name.span);
            }
        }
    }
    if let Some(cache) = manifest.cache.as_ref()
        && let Some(default) = cache.engine.value.port()
        && runs(cache.runtime.as_ref().map(|runtime| runtime.value))
    {
        let (port, span) = cache.port.as_ref().map_or((default, &cache.span), |port| (port.get(), &port.span));
        claims.push((port, "cache".to_owned(), span.clone()));
    }
    if let Some(gateway) = &manifest.gateway {
        let (port, span) =
            gateway.port.as_ref().map_or((gateway.engine.value.port(), &gateway.span), |port| (port.get(), &port.span));
        claims.push((port, "gateway".to_owned(), span.clone()));
    }
    for service in &manifest.services {
        for port in &service.value.ports {
            claims.push((port.0.host, format!("services.{}", service.name.value), port.span.clone()));
        }
    }
    claims
}
