//! Ports that two parts of the stack would both listen on.

use super::Checker;
use crate::manifest::common::RuntimeName;
use crate::manifest::types::CacheEngine;
use crate::resource::{Note, Port};
use std::collections::BTreeMap;
use std::ops::Range;

/// The port that `LiteLLM`, and so the gateway, takes when it is not told another.
const GATEWAY: u16 = 4000;

/// The port that Redis takes when it is not told another.
const REDIS: u16 = Port::REDIS.get();

pub(super) fn check(checker: &mut Checker<'_>) {
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    for (port, part, span) in claims(checker) {
        if let Some(other) = taken.get(&port) {
            let note = Note::error("port-clash", format!("`{part}` and `{other}` both listen on port {port}"));
            checker.at(note.hint("give one of them another `port`"), part, &span);
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
        if !provider.value.engine.value.serves_one() {
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
                checker.at(note.hint("give it a `port`"), part, &model.name.span);
            }
        }
    }
    if let Some(cache) = manifest.cache.as_ref().filter(|cache| cache.engine.value == CacheEngine::Redis)
        && runs(cache.runtime.as_ref().map(|runtime| runtime.value))
    {
        let (port, span) = cache.port.as_ref().map_or((REDIS, &cache.span), |port| (port.get(), &port.span));
        claims.push((port, "cache".to_owned(), span.clone()));
    }
    if let Some(gateway) = &manifest.gateway {
        let (port, span) = gateway.port.as_ref().map_or((GATEWAY, &gateway.span), |port| (port.get(), &port.span));
        claims.push((port, "gateway".to_owned(), span.clone()));
    }
    for service in &manifest.services {
        for port in &service.value.ports {
            claims.push((port.0.host, format!("services.{}", service.name.value), port.span.clone()));
        }
    }
    claims
}
