//! The routes to the models of a provider.

use crate::engines::Route;
use crate::manifest::{Entry, Model, Provider};
use crate::resolve::build::Builder;
use crate::resource::{ManifestPath, Origin};

/// Returns the variable of the gateway with the key of a provider's server.
pub(in crate::resolve) fn key_variable(provider: &Entry<Provider>) -> String {
    format!("LLAMERO_{}_API_KEY", provider.name.value.to_uppercase().replace('-', "_"))
}

/// Returns the port of a provider's server on this machine that llamero does not run.
pub(super) fn loopback_port(provider: &Provider) -> Option<u16> {
    let endpoint = &provider.endpoint.as_ref()?.value.0;
    endpoint.host().is_loopback().then(|| endpoint.port())
}

/// Returns the routes to a server that llamero does not run.
pub(super) fn external(builder: &Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let Some(endpoint) = &provider.value.endpoint else { return Vec::new() };
    let (base, with_version) = (endpoint.0.to_string(), endpoint.0.with_version().to_string());
    let models = builder.manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    let path = ManifestPath::from(format!("providers.{}", provider.name.value));
    let route = |model: &Entry<Model>| {
        let source = model.value.source.as_ref().map(|source| &source.value);
        let upstream = source.map_or_else(|| model.name.value.clone(), ToString::to_string);
        let mut origins = vec![Origin::new(path.key("endpoint"), &endpoint.value.0).through(provider_path(model))];
        origins.extend(source.map(|source| Origin::new(format!("models.{}.source", model.name.value), source)));
        let key = provider.value.api_key.as_ref();
        origins.extend(key.map(|_| Origin::declared(path.key("api_key")).through(provider_path(model))));
        Route {
            port: loopback_port(&provider.value),
            key: key.map(|_| key_variable(provider)),
            ..route(provider, model, &upstream, (&base, &with_version), origins)
        }
    };
    models.map(route).collect()
}

/// Returns the route to a model of a provider at an address, or at the same address with `/v1` at its end.
pub(super) fn route(
    provider: &Entry<Provider>,
    model: &Entry<Model>,
    upstream: &str,
    (base, with_version): (&str, &str),
    origins: Vec<Origin>,
) -> Route {
    let protocol = provider.value.engine.value.upstream(model.value.mode);
    let fallbacks: Vec<String> = model.value.fallbacks.iter().map(|name| name.value.clone()).collect();
    Route {
        model: model.name.value.clone(),
        upstream: format!("{}/{upstream}", protocol.prefix),
        address: if protocol.versioned { with_version } else { base }.to_owned(),
        port: None,
        key: None,
        mode: model.value.mode,
        origins: route_origins(model, &fallbacks).into_iter().chain(origins).collect(),
        fallbacks,
    }
}

/// Returns the path of the setting that names a model's provider.
pub(super) fn provider_path(model: &Entry<Model>) -> ManifestPath {
    format!("models.{}.provider", model.name.value).into()
}

/// Returns the settings that every route to a model comes from.
fn route_origins(model: &Entry<Model>, fallbacks: &[String]) -> Vec<Origin> {
    let path = ManifestPath::from(format!("models.{}", model.name.value));
    let mut origins = vec![
        Origin::declared(path.clone()),
        Origin::new(path.key("provider"), &model.value.provider.value),
        Origin::new(path.key("mode"), model.value.mode),
    ];
    if !fallbacks.is_empty() {
        origins.push(Origin::new(path.key("fallbacks"), fallbacks.join(", ")));
    }
    origins
}
