//! What each engine is, in a file of its own: its command, its files, its questions, and how the gateway reaches it.

pub(super) mod litellm;
pub(super) mod llama_cpp;
pub(super) mod ollama;
pub(super) mod redis;
pub(super) mod service;
pub(super) mod vllm;

use super::routes::Route;
use crate::manifest::{Engine, Entry, Manifest, Model, Provider, RuntimeName};
use crate::resource::{Gpus, ManifestPath, Origin};

/// Returns the models of a provider that has a server for each of them, with the port of each server.
pub(super) fn ports<'a>(manifest: &'a Manifest, provider: &Entry<Provider>) -> Vec<(&'a Entry<Model>, u16)> {
    let Some(first) = provider.value.port.as_ref().map(|port| port.get()) else { return Vec::new() };
    let mut next = u32::from(first);
    let mut take = || {
        next += 1;
        u16::try_from(next - 1).unwrap_or(u16::MAX)
    };
    let models = manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    models.map(|model| (model, model.value.port.as_ref().map_or_else(&mut take, |port| port.get()))).collect()
}

/// Returns the setting that the port of a model's own server comes from.
fn port_origin(provider: &Entry<Provider>, model: &Entry<Model>) -> Option<Origin> {
    let own = model.value.port.as_ref().map(|port| (format!("models.{}.port", model.name.value), port));
    let first = || Some((format!("providers.{}.port", provider.name.value), provider.value.port.as_ref()?));
    own.or_else(first).map(|(path, port)| Origin::new(path, port.value))
}

/// Returns the route to a server of one model's own on this machine.
fn route(provider: &Entry<Provider>, model: &Entry<Model>, prefix: &str, port: u16) -> Route {
    Route {
        model: model.name.value.clone(),
        upstream: format!("{prefix}/{}", model.name.value),
        address: format!("http://127.0.0.1:{port}/v1"),
        port: Some(port),
        key: None,
        mode: model.value.mode,
        fallbacks: fallbacks(model),
        origins: route_origins(model)
            .into_iter()
            .chain(port_origin(provider, model).map(|origin| origin.through(provider_path(model))))
            .collect(),
    }
}

/// Returns the models that answer in the place of one.
pub(super) fn fallbacks(model: &Entry<Model>) -> Vec<String> {
    model.value.fallbacks.iter().map(|name| name.value.clone()).collect()
}

/// Returns the path of the setting that names a model's provider.
pub(super) fn provider_path(model: &Entry<Model>) -> ManifestPath {
    format!("models.{}.provider", model.name.value).into()
}

/// Returns the settings that every route to a model comes from.
pub(super) fn route_origins(model: &Entry<Model>) -> Vec<Origin> {
    let path = ManifestPath::from(format!("models.{}", model.name.value));
    let mut origins = vec![
        Origin::declared(path.clone()),
        Origin::new(path.key("provider"), &model.value.provider.value),
        Origin::new(path.key("mode"), model.value.mode),
    ];
    if !model.value.fallbacks.is_empty() {
        origins.push(Origin::new(path.key("fallbacks"), fallbacks(model).join(", ")));
    }
    origins
}

/// Returns the GPUs that a provider's servers may use. A container sees those that the manifest names and no others.
fn gpus(provider: &Entry<Provider>) -> Gpus {
    let chosen: Vec<String> = provider.value.gpus.iter().map(|gpu| gpu.value.0.clone()).collect();
    let in_container = provider.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    match (chosen.is_empty(), in_container, provider.value.engine.value) {
        (false, _, _) => Gpus::Devices(chosen),
        (true, true, _) => Gpus::None,
        (true, false, Engine::Vllm) => Gpus::All,
        (true, false, _) => Gpus::Unspecified,
    }
}
