//! The manifest, with the facts of the machine, to every resource.

use super::build::Builder;
use super::container::is_isolated;
use super::engines::{fallbacks, litellm, llama_cpp, ollama, provider_path, redis, route_origins, service, vllm};
use super::facts::Facts;
use super::routes::Route;
use super::{Desired, Drift, Policy, canary};
use crate::lockfile::LockFile;
use crate::manifest::{
    CacheEngine, DriftPolicy, Engine, Entry, Manifest, Mode, Network, Provider, Rollback, Rollout, RuntimeName, Source,
};
use crate::resource::{Bytes, Kind, ManifestPath, Note, Origin, ResourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Host memory that is left to the rest of the machine when the manifest says nothing.
const LEFT: u64 = 2 << 30;

/// Returns the stack that a manifest, held to its lock, means on a machine, and what stands in the way. A note carries
/// the path and the bytes of the manifest that it is about.
#[must_use]
pub fn resolve(manifest: &Manifest, lock: &LockFile, facts: &Facts) -> (Desired, Vec<(Note, String, Range<usize>)>) {
    let mut builder =
        Builder { manifest, lock, facts, resources: BTreeMap::new(), spans: BTreeMap::new(), notes: Vec::new() };
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for provider in &manifest.providers {
        for route in provider_routes(&mut builder, provider) {
            routes.insert(route.model.clone(), route);
        }
    }
    builder.check_gpus();
    // Clients see models in the order of the manifest.
    let order: Vec<Route> = manifest.models.iter().filter_map(|model| routes.remove(&model.name.value)).collect();
    let cache = manifest.cache.as_ref().and_then(|cache| {
        let runtime = cache.runtime.as_ref().map(|runtime| runtime.value);
        let runs = cache.engine.value == CacheEngine::Redis && runtime != Some(RuntimeName::External);
        if runs { redis::add(&mut builder, cache) } else { None }
    });
    let gateway = manifest.gateway.as_ref().and_then(|gateway| {
        if is_isolated(gateway.common(), Network::Host) {
            let note =
                Note::error("not-reachable", "the gateway must reach servers that listen on the host's loopback");
            builder.note(note.hint("leave `network` out, or write `network: host`"), "gateway.network", &gateway.span);
        }
        litellm::add(&mut builder, gateway, order, cache.as_ref())
    });
    let (gateway, routing) = gateway.unzip();
    services(&mut builder, cache, gateway);
    builder.check_identities();
    builder.check_definitions();
    let mut desired = Desired {
        stack: manifest.stack.value.clone(),
        resources: builder.resources,
        routing,
        memory: manifest
            .machine
            .memory
            .as_ref()
            .map(|memory| memory.value.0)
            .or_else(|| facts.memory.map(|total| Bytes(total.0.saturating_sub(LEFT)))),
        canary: manifest
            .policy
            .canary
            .as_ref()
            .filter(|_| manifest.policy.rollout == Rollout::Canary)
            .and_then(|model| canary(manifest, model)),
        policy: Policy {
            drift: match manifest.policy.drift {
                DriftPolicy::Correct => Drift::Correct,
                DriftPolicy::Warn => Drift::Warn,
            },
            prune: manifest.policy.prune.unwrap_or(true),
            rollback: manifest.policy.rollback == Rollback::Auto,
        },
    };
    desired.renew_inputs();
    desired.trace_inputs();
    (desired, builder.notes)
}

fn provider_routes(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let path = format!("providers.{}", provider.name.value);
    let engine = provider.value.engine.value;
    let runtime = provider.value.runtime.as_ref().map_or(RuntimeName::External, |runtime| runtime.value);
    if let (Some(manage), true) = (&provider.value.manage, engine != Engine::Ollama) {
        builder.unsupported("managing the models of this engine", format!("{path}.manage"), &manage.span);
    }
    match (engine, runtime) {
        (Engine::Ollama, RuntimeName::External) if provider.value.manage.is_some() => {
            let Some(endpoint) = &provider.value.endpoint else { return Vec::new() };
            ollama::models(builder, provider, &endpoint.0.to_string(), None, None)
        }
        (_, RuntimeName::External) | (Engine::Openai, _) => external(builder, provider),
        (Engine::LlamaCpp, _) => llama_cpp::add(builder, provider),
        (Engine::Ollama, _) => ollama::add(builder, provider),
        (Engine::Vllm, _) => vllm::add(builder, provider),
    }
}

/// Returns the variable of the gateway with the key of a provider's server.
pub(super) fn key_variable(provider: &Entry<Provider>) -> String {
    format!("LLAMERO_{}_API_KEY", provider.name.value.to_uppercase().replace('-', "_"))
}

/// Returns the port of a provider's server on this machine that llamero does not run.
pub(super) fn loopback_port(provider: &Provider) -> Option<u16> {
    let endpoint = &provider.endpoint.as_ref()?.value.0;
    endpoint.host().is_loopback().then(|| endpoint.port())
}

/// Returns the routes to a server that llamero does not run.
fn external(builder: &Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let Some(endpoint) = &provider.value.endpoint else { return Vec::new() };
    let models = builder.manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    models
        .map(|model| {
            let source = model.value.source.as_ref().map(|source| &source.value);
            let upstream = if let Some(Source::Text(text)) = source { text.clone() } else { model.name.value.clone() };
            let (base, with_version) = (endpoint.0.to_string(), endpoint.0.with_version().to_string());
            let (prefix, api_base) = match (provider.value.engine.value, model.value.mode) {
                (Engine::Ollama, Mode::Chat) => ("ollama_chat", base),
                (Engine::Ollama, _) => ("ollama", base),
                (Engine::Vllm, mode) => (vllm::prefix(mode), with_version),
                (Engine::LlamaCpp, mode) => (llama_cpp::prefix(mode), with_version),
                // An endpoint of OpenAI's protocol is taken as it is written: not all have a `/v1`.
                (Engine::Openai, mode) => (llama_cpp::prefix(mode), base),
            };
            let path = ManifestPath::from(format!("providers.{}", provider.name.value));
            let mut origins = route_origins(model);
            origins.push(Origin::new(path.key("endpoint"), &endpoint.value.0).through(provider_path(model)));
            origins.extend(source.map(|source| Origin::new(format!("models.{}.source", model.name.value), source)));
            let key = provider.value.api_key.as_ref();
            origins.extend(key.map(|_| Origin::declared(path.key("api_key")).through(provider_path(model))));
            Route {
                model: model.name.value.clone(),
                upstream: format!("{prefix}/{upstream}"),
                port: loopback_port(&provider.value),
                address: api_base,
                key: key.map(|_| key_variable(provider)),
                mode: model.value.mode,
                fallbacks: fallbacks(model),
                origins,
            }
        })
        .collect()
}

fn services(builder: &mut Builder<'_>, cache: Option<ResourceId>, gateway: Option<ResourceId>) {
    let manifest = builder.manifest;
    let mut parts: BTreeMap<String, BTreeSet<ResourceId>> = BTreeMap::new();
    parts.insert("cache".to_owned(), cache.into_iter().collect());
    parts.insert("gateway".to_owned(), gateway.into_iter().collect());
    for provider in &manifest.providers {
        let mut roles = manifest
            .models
            .iter()
            .filter(|model| model.value.provider.value == provider.name.value)
            .map(|model| format!("models.{}", model.name.value));
        let ids = roles.by_ref().flat_map(|role| {
            let servers = builder.resources.values().filter(move |resource| resource.role == role);
            servers.filter(|resource| resource.id.kind.runs()).map(|resource| resource.id.clone())
        });
        parts.insert(provider.name.value.clone(), ids.collect());
    }
    for service in &manifest.services {
        if let Some(id) = builder.server_id(&service.name.value, service.value.common()) {
            parts.insert(service.name.value.clone(), BTreeSet::from([id]));
        }
    }
    for entry in &manifest.services {
        service::add(builder, entry, &parts);
    }
    debug_assert!(builder.resources.keys().all(|id| id.kind != Kind::Unit || !id.name.is_empty()));
}
