//! The servers of providers, and the routes to their models, by what each engine says of itself.

pub(super) mod files;
pub(super) mod pulled;

use super::build::{Builder, Server};
use super::container::{Contained, listen};
use crate::engines::{Launch, ModelPlace, ModelServer, Models, Route};
use crate::manifest::{Entry, Manifest, Model, Provider, RuntimeName, Source};
use crate::resource::{Gpus, Input, ManifestPath, Note, Origin, Resource, ResourceId, Spec};
use std::collections::BTreeSet;

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

/// Adds the servers of a provider, and what its models are made of; returns the routes to them.
pub(super) fn add(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let path = format!("providers.{}", provider.name.value);
    let engine = provider.value.engine.value.0;
    let runtime = provider.value.runtime.as_ref().map_or(RuntimeName::External, |runtime| runtime.value);
    if let (Some(manage), true) = (&provider.value.manage, engine.models() != Models::Pulled) {
        builder.unsupported("managing the models of this engine", format!("{path}.manage"), &manage.span);
    }
    match (engine.models(), runtime) {
        (Models::Pulled, RuntimeName::External) if provider.value.manage.is_some() => {
            let Some(endpoint) = &provider.value.endpoint else { return Vec::new() };
            pulled::models(builder, provider, &endpoint.0.to_string(), None, None)
        }
        (_, RuntimeName::External) | (Models::Upstream, _) => external(builder, provider),
        (Models::Pulled, _) => pulled::add(builder, provider),
        (Models::File | Models::Repository, _) => each(builder, provider),
    }
}

/// Adds a server for each model of a provider.
fn each(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let servers = ports(builder.manifest, provider);
    let share = share_of_gpu(builder, provider, servers.len());
    let mut routes = Vec::new();
    for (model, port) in servers {
        server(builder, provider, model, port, share.clone());
        let base = format!("http://127.0.0.1:{port}");
        let origins = port_origin(provider, model).map(|origin| origin.through(provider_path(model)));
        let route =
            route(provider, model, &model.name.value, (&base, &format!("{base}/v1")), origins.into_iter().collect());
        routes.push(Route { port: Some(port), ..route });
    }
    routes
}

/// Returns the share of a GPU that each server of a provider takes, where the manifest gives a budget.
fn share_of_gpu(builder: &mut Builder<'_>, provider: &Entry<Provider>, servers: usize) -> Option<(String, Origin)> {
    let path = format!("providers.{}.memory", provider.name.value);
    let memory = provider.value.memory.as_ref()?;
    let Some(share) = provider.value.engine.value.share_of_gpu() else {
        builder.unsupported("a budget of GPU memory", path, &memory.span);
        return None;
    };
    let text = builder.share_of_gpu(provider, servers);
    let models = builder.manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    let mut words = models.flat_map(|model| &model.value.args.value.0).chain(&provider.value.args.value.0);
    if words.any(|word| share.is_flag(word)) || provider.value.settings.0.get(share.setting).is_some() {
        let message = format!("`memory` is the share of the GPU that `{}` says too", share.setting);
        builder.note(Note::error("twice", message).hint("keep one of the two"), path.clone(), &memory.span);
    }
    Some((text?, Origin::new(path, memory.value.0)))
}

/// Adds the server of one model.
fn server(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    model: &Entry<Model>,
    port: u16,
    share: Option<(String, Origin)>,
) -> Option<()> {
    let name = &model.name.value;
    let settings = &model.value;
    let engine = provider.value.engine.value.0;
    let source = settings.source.as_ref()?;
    let input;
    let place = if engine.models() == Models::File {
        let (artifact, file, digest) = files::artifact(builder, provider, model)?;
        input = Some(Input { resource: artifact, digest });
        ModelPlace::Path(file)
    } else {
        input = None;
        repository(builder, model)?
    };
    let path = ManifestPath::from(format!("models.{name}"));
    let declared = ManifestPath::from(format!("providers.{}", provider.name.value));
    let launch = engine.model_server(&ModelServer {
        name,
        model_path: path.clone(),
        provider_path: declared.clone(),
        place,
        source: Origin::new(path.key("source"), &source.value),
        listen: listen(provider.value.common()),
        port,
        port_origin: port_origin(provider, model),
        context: settings.context.as_ref().map(|context| context.value),
        parallel: settings.parallel.as_ref().map(|parallel| parallel.value),
        gpu_layers: settings.gpu_layers.as_ref().map(|layers| layers.value),
        kv_cache_type: settings.kv_cache_type.as_ref().map(|kind| &*kind.value),
        flash_attention: settings.flash_attention.as_ref().map(|on| on.value),
        mode: settings.mode,
        settings: engine.settings().read(&provider.value.settings.0).0,
        share,
        sleep: provider.value.sleep.value,
        caches: builder.facts.directories.home.join(".cache"),
        in_container: in_container(provider),
        own_command: provider.value.command.is_some(),
    })?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let part = if *name == provider.name.value { name.clone() } else { format!("{}-{name}", provider.name.value) };
    let needs: BTreeSet<ResourceId> = input.iter().map(|input| input.resource.clone()).collect();
    let Launch { arguments, environment, origins, mounts, ipc_host, restart, timeout, store: _ } = launch;
    let id = builder.server(&Server {
        part,
        role: format!("models.{name}"),
        span: model.name.span.clone(),
        description: format!("{name} on {} (llamero, stack {})", engine.title(), builder.manifest.stack.value),
        common: provider.value.common(),
        program: engine.program(),
        path: declared,
        arguments,
        environment,
        secrets: Vec::new(),
        ports: vec![port],
        probe: engine.probe(&endpoint, Some(name)),
        inputs: input.into_iter().collect(),
        needs,
        engine: Some(engine.name()),
        last: Some((&settings.args.value.0, path.key("args"))),
        origins,
        working_directory: None,
        gpus: gpus(provider),
        contained: Contained { mounts, ipc_host, ..Contained::default() },
    })?;
    let own = provider.value.health.timeout.is_some() || builder.manifest.policy.health.timeout.is_some();
    if let Some(Resource { spec: Spec::Run(run), .. }) = builder.resources.get_mut(&id) {
        run.restart = restart;
        run.timeout = timeout.filter(|_| !own).unwrap_or(run.timeout);
        let share = engine.share_of_gpu().filter(|_| !run.gpus.is_none());
        run.gpu_claim = share.map(|share| share.claim(&run.command.argv()));
        run.sleep = engine.sleep(&endpoint).filter(|_| provider.value.sleep.value);
    }
    Some(())
}

/// Returns the folder or the repository that a model is.
fn repository(builder: &mut Builder<'_>, model: &Entry<Model>) -> Option<ModelPlace> {
    let source = &model.value.source.as_ref()?.value;
    let hub = match source {
        Source::Path(folder) | Source::File(folder) => {
            return Some(ModelPlace::Path(builder.facts.directories.expand(folder)));
        }
        Source::Hub(hub) => hub,
        Source::Name(_) | Source::Url(_) | Source::Command(_) => return None,
    };
    // What the lock file says of it is the commit that the revision was at.
    let locked = builder.pin(&source.to_string(), model).and_then(|pin| pin.revision.clone());
    let revision = locked.or_else(|| hub.revision.clone());
    Some(ModelPlace::Repository { name: hub.name(), revision, hub: builder.facts.hub.clone() })
}

/// Returns the variable of the gateway with the key of a provider's server.
pub(super) fn key_variable(provider: &Entry<Provider>) -> String {
    format!("LLAMERO_{}_API_KEY", provider.name.value.to_uppercase().replace('-', "_"))
}

/// Returns the port of a provider's server on this machine that llamero does not run.
fn loopback_port(provider: &Provider) -> Option<u16> {
    let endpoint = &provider.endpoint.as_ref()?.value.0;
    endpoint.host().is_loopback().then(|| endpoint.port())
}

/// Returns the routes to a server that llamero does not run.
fn external(builder: &Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
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
fn route(
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
fn provider_path(model: &Entry<Model>) -> ManifestPath {
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

/// Returns whether a provider's servers are containers.
fn in_container(provider: &Entry<Provider>) -> bool {
    provider.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker)
}

/// Returns the GPUs that a provider's servers may use. A container sees those that the manifest names and no others.
fn gpus(provider: &Entry<Provider>) -> Gpus {
    let chosen: Vec<String> = provider.value.gpus.iter().map(|gpu| gpu.value.to_string()).collect();
    let claims = provider.value.engine.value.share_of_gpu().is_some();
    match (chosen.is_empty(), in_container(provider)) {
        (false, _) => Gpus::Devices(chosen),
        (true, true) => Gpus::None,
        (true, false) if claims => Gpus::All,
        (true, false) => Gpus::Unspecified,
    }
}
