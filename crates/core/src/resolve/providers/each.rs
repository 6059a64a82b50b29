//! Providers with a server for each of their models.

use super::files;
use super::gpus::{gpus, in_container, share_of_gpu};
use super::ports::{port_origin, ports};
use super::route::{provider_path, route};
use crate::engines::{Launch, ModelPlace, ModelServer, Models, Route};
use crate::manifest::{Entry, Model, Provider, Source};
use crate::resolve::build::Builder;
use crate::resolve::server::{Declaration, Server, listen};
use crate::resource::{Input, ManifestPath, Origin, Resource, Spec};

/// A model with a server of its own.
struct OwnServer<'a> {
    provider: &'a Entry<Provider>,
    model: &'a Entry<Model>,
    /// The port that the server listens on.
    port: u16,
    /// The share of a GPU that it takes, where the manifest gives a budget, and the setting that it comes from.
    share: Option<(String, Origin)>,
}

/// Adds a server for each model of a provider.
pub(super) fn each(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let servers = ports(builder.manifest, provider);
    let share = share_of_gpu(builder, provider, servers.len());
    let mut routes = Vec::new();
    for (model, port) in servers {
        server(builder, &OwnServer { provider, model, port, share: share.clone() });
        let base = format!("http://127.0.0.1:{port}");
        let origins = port_origin(provider, model).map(|origin| origin.through(provider_path(model)));
        let route =
            route(provider, model, &model.name.value, (&base, &format!("{base}/v1")), origins.into_iter().collect());
        routes.push(Route { port: Some(port), ..route });
    }
    routes
}

/// Adds the server of one model.
fn server(builder: &mut Builder<'_>, own: &OwnServer<'_>) -> Option<()> {
    let OwnServer { provider, model, port, .. } = own;
    let name = &model.name.value;
    let engine = provider.value.engine.value.0;
    let (place, input) = place(builder, provider, model)?;
    let launch = launch(builder, own, place)?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let part = if *name == provider.name.value { name.clone() } else { format!("{}-{name}", provider.name.value) };
    let (restart, timeout) = (launch.restart, launch.timeout);
    let declaration = Declaration {
        part,
        role: format!("models.{name}"),
        path: format!("providers.{}", provider.name.value).into(),
        span: model.name.span.clone(),
        common: provider.value.common(),
    };
    let description = format!("{name} on {}", engine.title());
    let server = Server {
        ports: vec![*port],
        needs: input.iter().map(|input| input.resource.clone()).collect(),
        inputs: input.into_iter().collect(),
        last: Some((&model.value.args.value.0, format!("models.{name}.args").into())),
        gpus: gpus(provider),
        ..Server::declared(declaration, description, engine.probe(&endpoint, Some(name)))
    };
    let id = builder.server(&server.launched(engine, launch))?;
    let is_declared = provider.value.health.timeout.is_some() || builder.manifest.policy.health.timeout.is_some();
    if let Some(Resource { spec: Spec::Run(run), .. }) = builder.resources.get_mut(&id) {
        run.restart = restart;
        run.timeout = timeout.filter(|_| !is_declared).unwrap_or(run.timeout);
        let share = engine.share_of_gpu().filter(|_| !run.gpus.is_none());
        run.gpu_claim = share.map(|share| share.claim(&run.command.argv()));
        run.sleep = engine.sleep(&endpoint).filter(|_| provider.value.sleep.value);
    }
    Some(())
}

/// Returns how the engine starts the server of one model.
fn launch(builder: &Builder<'_>, own: &OwnServer<'_>, place: ModelPlace) -> Option<Launch> {
    let OwnServer { provider, model, port, share } = own;
    let name = &model.name.value;
    let settings = &model.value;
    let engine = provider.value.engine.value.0;
    let path = ManifestPath::from(format!("models.{name}"));
    engine.model_server(&ModelServer {
        name,
        model_path: path.clone(),
        provider_path: format!("providers.{}", provider.name.value).into(),
        place,
        source: Origin::new(path.key("source"), &settings.source.as_ref()?.value),
        listen: listen(provider.value.common()),
        port: *port,
        port_origin: port_origin(provider, model),
        context: settings.context.as_ref().map(|context| context.value),
        parallel: settings.parallel.as_ref().map(|parallel| parallel.value),
        gpu_layers: settings.gpu_layers.as_ref().map(|layers| layers.value),
        kv_cache_type: settings.kv_cache_type.as_ref().map(|kind| &*kind.value),
        flash_attention: settings.flash_attention.as_ref().map(|on| on.value),
        mode: settings.mode,
        settings: engine.settings().read(&provider.value.settings.0).0,
        share: share.clone(),
        sleep: provider.value.sleep.value,
        caches: builder.facts.directories.home.join(".cache"),
        in_container: in_container(provider),
        own_command: provider.value.command.is_some(),
    })
}

/// Returns the place of a model, and the input that it is where llamero fetches it.
fn place(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    model: &Entry<Model>,
) -> Option<(ModelPlace, Option<Input>)> {
    if provider.value.engine.value.models() == Models::File {
        let (artifact, file, digest) = files::artifact(builder, provider, model)?;
        Some((ModelPlace::Path(file), Some(Input { resource: artifact, digest })))
    } else {
        Some((repository(builder, model)?, None))
    }
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
