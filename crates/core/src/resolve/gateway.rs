//! The gateway: its routes and settings as values, the files that its engine renders from them, and its server.

use super::build::Builder;
use super::providers::key_variable;
use super::server::{Declaration, Server, listen};
use crate::engines::{GatewayCache, GatewayServer, GatewaySettings, Handoff, Route, Routing};
use crate::manifest::{Cache, Gateway, PathText, RuntimeName, SecretSource, Spanned};
use crate::resource::{
    Authorization, Content, Digest, FileSpec, Host, Input, Kind, ManifestPath, Origin, Origins, Part, Port,
    RedisEndpoint, Resource, ResourceId, Spec,
};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The variable with the password of a Redis that llamero does not run.
const CACHE_PASSWORD: &str = "LLAMERO_CACHE_PASSWORD";

/// Adds the gateway; returns its name, and what it serves.
pub(super) fn add(
    builder: &mut Builder<'_>,
    gateway: &Spanned<Gateway>,
    routes: Vec<Route>,
    cache: Option<&ResourceId>,
) -> Option<(ResourceId, Routing)> {
    let engine = gateway.engine.value.0;
    let master_key = gateway.master_key.as_ref()?;
    let mut routing = routing(builder, gateway, routes);
    let (path, input) = files(builder, gateway, &mut routing);
    let port = gateway.port.as_ref().map_or(engine.port(), |port| port.get());
    let asked = GatewayServer {
        config: (path, gateway.config.as_ref().map(|path| Origin::new("gateway.config", &path.value))),
        listen: listen(gateway.common()),
        port: (port, gateway.port.as_ref().map(|port| Origin::new("gateway.port", port.value))),
    };
    let launch = engine.server(&asked);
    let authorization = Authorization(super::facts::reference(master_key, &builder.facts.directories));
    let models = routing.models().map(str::to_owned).collect();
    let declaration = Declaration {
        part: "gateway".to_owned(),
        role: "gateway".to_owned(),
        path: "gateway".into(),
        span: gateway.span.clone(),
        common: gateway.common(),
    };
    let probe = engine.probe(&format!("http://127.0.0.1:{port}"), models, authorization);
    let server = Server {
        secrets: secrets(builder, gateway, &routing),
        ports: vec![port],
        needs: cache.cloned().into_iter().chain([input.resource.clone()]).collect(),
        inputs: vec![input],
        ..Server::declared(declaration, format!("{} gateway", engine.title()), probe)
    };
    let id = builder.server(&server.launched(engine, launch))?;
    if let Some(Spec::Run(run)) = builder.resources.get_mut(&id).map(|resource| &mut resource.spec) {
        run.gateway = Some(engine.api());
    }
    if let Some(handoff) = engine.handoff(&asked) {
        hand_off(builder, gateway, &id, handoff);
    }
    Some((id, routing))
}

/// Adds the files with a gateway's configuration; returns the path of the first, and it as an input.
fn files(builder: &mut Builder<'_>, gateway: &Spanned<Gateway>, routing: &mut Routing) -> (PathBuf, Input) {
    let engine = gateway.engine.value.0;
    let stack = &builder.manifest.stack.value;
    let directories = &builder.facts.directories;
    let own = directories.config.join("llamero").join(stack).join(engine.config_name());
    let content = Content::text(engine.render(stack, routing));
    let digest = content.digest();
    // A file elsewhere is another file: the one at the previous path is no longer declared.
    let name = |path: &Path| format!("gateway-{}", &Digest::of(path.to_string_lossy().as_bytes()).as_str()[..6]);
    let file = |path: PathBuf, origin: Option<Origin>, name: String| {
        let spec = Spec::File(FileSpec { path, content: content.clone() });
        let resource = Resource::new(ResourceId::new(Kind::File, name), "gateway", spec);
        let mut origins = Origins::of("path", origin);
        origins.add("content", routing.all_origins());
        Resource { origins, ..resource }
    };
    let declared = |setting: &str, path: &Spanned<PathText>| {
        (directories.expand(&path.value), Some(Origin::new(setting, &path.value)))
    };
    let (path, origin) =
        gateway.config.as_ref().map_or_else(|| (own.clone(), None), |path| declared("gateway.config", path));
    let mut files = vec![file(path.clone(), origin, if path == own { "gateway".to_owned() } else { name(&path) })];
    for path in &gateway.also_at {
        let (path, origin) = declared("gateway.also_at", path);
        let name = name(&path);
        files.push(file(path, origin, name));
    }
    routing.files = files.iter().map(|file| file.id.clone()).collect();
    let input = Input { resource: files[0].id.clone(), digest };
    for file in files {
        builder.add(file, &gateway.span);
    }
    (path, input)
}

/// Returns the secret variables of a gateway, sorted, each with the setting that it comes from.
fn secrets<'a>(
    builder: &Builder<'a>,
    gateway: &'a Spanned<Gateway>,
    routing: &Routing,
) -> Vec<(String, &'a SecretSource, ManifestPath)> {
    let manifest = builder.manifest;
    let master_key = gateway.master_key.iter();
    let mut secrets: Vec<(String, &SecretSource, ManifestPath)> = master_key
        .map(|key| (gateway.engine.value.master_key().to_owned(), key, ManifestPath::from("gateway.master_key")))
        .collect();
    let keys = routing.keys(None);
    for provider in &manifest.providers {
        let variable = key_variable(provider);
        if let Some(source) = provider.value.api_key.as_ref().filter(|_| keys.contains(variable.as_str())) {
            secrets.push((variable, source, format!("providers.{}.api_key", provider.name.value).into()));
        }
    }
    let cache_password = manifest.cache.as_ref().and_then(|cache| cache.password.as_ref());
    let origin = ManifestPath::from("cache.password");
    secrets.extend(cache_password.map(|source| (CACHE_PASSWORD.to_owned(), source, origin)));
    secrets.sort_by(|one, other| one.0.cmp(&other.0));
    secrets.dedup_by(|one, other| one.0 == other.0);
    secrets
}

/// Makes the gateway hand its socket off to its successor, where llamero knows the Python that runs it and the manifest
/// gives it no arguments: then a change of its configuration drops no request.
fn hand_off(builder: &mut Builder<'_>, gateway: &Spanned<Gateway>, id: &ResourceId, handoff: Handoff) {
    let plain = gateway.args.value.0.is_empty() && gateway.command.as_ref().is_none_or(|words| words.0.len() == 1);
    let program =
        builder.resources.get(id).and_then(Resource::run).and_then(|run| run.command.program()).map(PathBuf::from);
    let Some(program) = program.filter(|_| plain && id.kind == Kind::Unit) else { return };
    let installed = !gateway.install.python.value.0.is_empty();
    let python =
        if installed { Some(program.with_file_name("python")) } else { builder.facts.pythons.get(&program).cloned() };
    let Some(python) = python else { return };
    let path = builder.facts.directories.records(&builder.manifest.stack).join("gateway_launcher.py");
    let content = Content::text(handoff.launcher.to_owned());
    let launcher = ResourceId::new(Kind::File, "gateway-launcher");
    let input = Input { resource: launcher.clone(), digest: content.digest() };
    let spec = Spec::File(FileSpec { path: path.clone(), content });
    builder.add(Resource::new(launcher.clone(), "gateway", spec), &gateway.span);
    let Some(resource) = builder.resources.get_mut(id) else { return };
    resource.needs.insert(launcher);
    resource.origins.add("port", gateway.port.as_ref().map(|port| Origin::new("gateway.port", port.value)));
    let Spec::Run(run) = &mut resource.spec else { return };
    for (name, (value, origin)) in handoff.environment {
        resource.origins.add(format!("environment {name}"), origin);
        run.environment.insert(name, value);
    }
    let origins = match run.command.0.first().cloned() {
        Some(Part::Word { origins, .. }) => origins,
        _ => Vec::new(),
    };
    run.command = crate::resource::Command::default();
    run.command.word(python.to_string_lossy(), origins);
    run.command.word(path.to_string_lossy(), None);
    run.inputs.push(input);
    run.socket_handoff = true;
    run.stop_timeout = handoff.drain;
}

/// Returns what the gateway serves.
fn routing(builder: &Builder<'_>, gateway: &Gateway, routes: Vec<Route>) -> Routing {
    let raw = &gateway.settings.value.0;
    let cache = builder.manifest.cache.as_ref();
    let settings = gateway.engine.value.settings(&GatewaySettings {
        stack: &builder.manifest.stack.value,
        cache: cache.map(|cache| GatewayCache {
            protocol: cache.engine.value.protocol(),
            server: cache_server(cache),
            password: cache.password.as_ref().map(|_| CACHE_PASSWORD),
            ttl: cache.ttl.as_ref().map(|ttl| ttl.value.0),
        }),
        retries: gateway.retries.as_ref().map(|retries| retries.value),
        allowed_fails: gateway.allowed_fails.as_ref().map(|fails| fails.value),
        cooldown: gateway.cooldown.as_ref().map(|time| time.value.0),
        raw,
    });
    let mut origins: Vec<Origin> = cache.map(|cache| cache_origins(cache)).unwrap_or_default();
    origins.extend(gateway.retries.as_ref().map(|retries| Origin::new("gateway.retries", retries.value)));
    origins.extend(gateway.allowed_fails.as_ref().map(|fails| Origin::new("gateway.allowed_fails", fails.value)));
    origins.extend(gateway.cooldown.as_ref().map(|time| Origin::new("gateway.cooldown", time.value.0)));
    raw_origins(&ManifestPath::from("gateway.settings"), raw, &mut origins);
    Routing { routes, settings, origins, files: Vec::new() }
}

/// Returns the settings of the manifest that a gateway's settings of its cache come from.
fn cache_origins(cache: &Cache) -> Vec<Origin> {
    let password = cache.password.as_ref().map(|_| Origin::declared("cache.password"));
    let mut origins: Vec<Origin> = password.into_iter().collect();
    origins.push(Origin::declared("cache"));
    origins.push(Origin::new("cache.engine", cache.engine.value.name()));
    origins.extend(cache.port.as_ref().map(|port| Origin::new("cache.port", port.value)));
    origins.extend(cache.endpoint.as_ref().map(|endpoint| Origin::new("cache.endpoint", &endpoint.value.0)));
    origins.extend(cache.ttl.as_ref().map(|ttl| Origin::new("cache.ttl", ttl.value.0)));
    origins
}

/// Adds the origins of settings that are passed through.
fn raw_origins(path: &ManifestPath, value: &Value, origins: &mut Vec<Origin>) {
    match value {
        Value::Null => {}
        Value::Object(settings) => {
            for (key, value) in settings {
                raw_origins(&path.key(key), value, origins);
            }
        }
        Value::String(text) => origins.push(Origin::new(path.clone(), text)),
        value => origins.push(Origin::new(path.clone(), value)),
    }
}

/// Returns the address of the cache, where it is a server.
fn cache_server(cache: &Spanned<Cache>) -> Option<RedisEndpoint> {
    let default = cache.engine.value.port().and_then(|port| Port::new(port.into()))?;
    let external = cache.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External);
    if let Some(endpoint) = cache.endpoint.as_ref().filter(|_| external) {
        return Some(endpoint.value.0.clone());
    }
    let port = cache.port.as_ref().map_or(default, |port| port.value);
    Some(RedisEndpoint { tls: false, host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port, database: None })
}
