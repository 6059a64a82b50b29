//! The `LiteLLM` proxy: a rendered configuration, and a server that reads it when it starts.
//!
//! Nothing is left to its own ideas: every route says its address (without one, a name with `ollama` in it makes the
//! proxy start an Ollama), every deployment has a stable id, it listens on loopback, reads no `.env` file and fetches no
//! price list.

use super::build::{Builder, Server};
use super::container::{Contained, listen};
use super::providers::key_variable;
use super::routes::{Route, Routing};
use crate::manifest::{Cache, Gateway, RuntimeName, Spanned};
use crate::render::launcher::GATEWAY_LAUNCHER;
use crate::render::yaml::yaml;
use crate::resource::{
    Authorization, Command, Content, Digest, FileSpec, Gpus, Host, Input, Kind, ManifestPath, Origin, Origins, Part,
    Port, RedisEndpoint, Resource, ResourceId, Seconds, Spec,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// `LiteLLM` looks up no request with more messages than this; its own limit of 4 misses every longer conversation.
const MAX_MESSAGES: u32 = 1000;

/// The variable with the password of a Redis that somebody else runs.
const CACHE_PASSWORD: &str = "LLAMERO_CACHE_PASSWORD";

/// How long its last streams may go on after a successor has taken its place.
const DRAIN: Seconds = Seconds::new(300);

/// Adds the gateway; returns its name, and what it serves.
pub(super) fn add(
    builder: &mut Builder<'_>,
    gateway: &Spanned<Gateway>,
    routes: Vec<Route>,
    cache: Option<&ResourceId>,
) -> Option<(ResourceId, Routing)> {
    let engine = gateway.engine.value.0;
    let master_key = gateway.master_key.as_ref()?;
    let port = gateway.port.as_ref().map_or(gateway.engine.value.port(), |port| port.get());
    let directories = &builder.facts.directories;
    let stack = builder.manifest.stack.value.clone();
    let own = directories.config.join("llamero").join(&stack).join("litellm.yaml");
    let path = gateway.config.as_ref().map_or(own.clone(), |path| directories.expand(path));
    let copies: Vec<_> = gateway.also_at.iter().map(|path| directories.expand(path)).collect();
    let mut routing = routing(builder, gateway, routes);
    let content = routing.content(&stack);
    let digest = content.digest();
    let file = |name: String, path: PathBuf, origin: Option<Origin>| {
        let spec = Spec::File(FileSpec { path, content: content.clone() });
        let resource = Resource::new(ResourceId::new(Kind::File, name), "gateway", spec);
        let mut origins = Origins::of("path", origin);
        origins.add("content", routing.all_origins());
        Resource { origins, ..resource }
    };
    // A file elsewhere is another file: the one at the former place is no longer declared.
    let named = |path: &Path| format!("gateway-{}", &Digest::of(path.to_string_lossy().as_bytes()).as_str()[..6]);
    let name = if path == own { "gateway".to_owned() } else { named(&path) };
    let config_file =
        file(name, path.clone(), gateway.config.as_ref().map(|path| Origin::new("gateway.config", &path.value)));
    let config_id = config_file.id.clone();
    builder.add(config_file, &gateway.span);
    let mut files = vec![config_id.clone()];
    for (copy, declared) in copies.into_iter().zip(&gateway.also_at) {
        let origin = Origin::new("gateway.also_at", &declared.value);
        let copy = file(named(&copy), copy, Some(origin));
        files.push(copy.id.clone());
        builder.add(copy, &gateway.span);
    }

    let mut secrets = vec![("LITELLM_MASTER_KEY".to_owned(), master_key, ManifestPath::from("gateway.master_key"))];
    let keys = routing.keys(None);
    for provider in &builder.manifest.providers {
        let variable = key_variable(provider);
        if let Some(source) = provider.value.api_key.as_ref().filter(|_| keys.contains(variable.as_str())) {
            secrets.push((variable, source, format!("providers.{}.api_key", provider.name.value).into()));
        }
    }
    let cache_password = builder.manifest.cache.as_ref().and_then(|cache| cache.password.as_ref());
    let origin = ManifestPath::from("cache.password");
    secrets.extend(cache_password.map(|source| (CACHE_PASSWORD.to_owned(), source, origin)));
    secrets.sort_by(|one, other| one.0.cmp(&other.0));
    secrets.dedup_by(|one, other| one.0 == other.0);
    let mut needs = BTreeSet::from([config_id.clone()]);
    needs.extend(cache.cloned());
    let authorization = Authorization(super::facts::reference(master_key, &builder.facts.directories));
    let endpoint = format!("http://127.0.0.1:{port}");
    let fixed = ["LITELLM_MODE=PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP=True", "PYTHONUNBUFFERED=1"];
    let mut arguments = Command::default();
    arguments.option(
        "--config",
        path.display(),
        gateway.config.as_ref().map(|path| Origin::new("gateway.config", &path.value)),
    );
    arguments.option("--host", listen(gateway.common()), None);
    let port_origin = gateway.port.as_ref().map(|port| Origin::new("gateway.port", port.value));
    arguments.option("--port", port, port_origin.clone());
    let id = builder.server(&Server {
        part: "gateway".to_owned(),
        role: "gateway".to_owned(),
        span: gateway.span.clone(),
        description: format!("{} gateway (llamero, stack {stack})", engine.title()),
        common: gateway.common(),
        program: engine.program(),
        path: "gateway".into(),
        arguments,
        environment: fixed
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<BTreeMap<_, _>>(),
        secrets,
        ports: vec![port],
        probe: engine.probe(&endpoint, routing.models().map(str::to_owned).collect(), authorization),
        inputs: vec![Input { resource: config_id, digest }],
        needs,
        engine: Some(engine.name()),
        last: None,
        origins: Origins::default(),
        working_directory: None,
        gpus: Gpus::None,
        contained: Contained::default(),
    })?;
    if let Some(Spec::Run(run)) = builder.resources.get_mut(&id).map(|resource| &mut resource.spec) {
        run.gateway = Some(engine.api());
    }
    hand_off(builder, gateway, &id, &path, port_origin);
    routing.files = files;
    Some((id, routing))
}

/// Lets the gateway hand its port on to its successor, where llamero knows the Python that runs it and the manifest gives
/// it no words of its own: then a change of its configuration drops no request.
fn hand_off(
    builder: &mut Builder<'_>,
    gateway: &Spanned<Gateway>,
    id: &ResourceId,
    config: &Path,
    port: Option<Origin>,
) {
    let plain = gateway.args.value.0.is_empty() && gateway.command.as_ref().is_none_or(|words| words.0.len() == 1);
    let program =
        builder.resources.get(id).and_then(Resource::run).and_then(|run| run.command.program()).map(PathBuf::from);
    let Some(program) = program.filter(|_| plain && id.kind == Kind::Unit) else { return };
    let installed = !gateway.install.python.value.0.is_empty();
    let python =
        if installed { Some(program.with_file_name("python")) } else { builder.facts.pythons.get(&program).cloned() };
    let Some(python) = python else { return };
    let path = builder.facts.directories.records(&builder.manifest.stack.value).join("gateway_launcher.py");
    let content = Content::text(GATEWAY_LAUNCHER.to_owned());
    let launcher = ResourceId::new(Kind::File, "gateway-launcher");
    let input = Input { resource: launcher.clone(), digest: content.digest() };
    let spec = Spec::File(FileSpec { path: path.clone(), content });
    builder.add(Resource::new(launcher.clone(), "gateway", spec), &gateway.span);
    let Some(resource) = builder.resources.get_mut(id) else { return };
    resource.needs.insert(launcher);
    resource.origins.add("port", port);
    let declared = gateway.config.as_ref().map(|path| Origin::new("gateway.config", &path.value));
    resource.origins.add("environment CONFIG_FILE_PATH", declared);
    let Spec::Run(run) = &mut resource.spec else { return };
    let program = run.command.0.first().cloned();
    let origins = match program {
        Some(Part::Word { origins, .. }) => origins,
        _ => Vec::new(),
    };
    run.command = Command::default();
    run.command.word(python.to_string_lossy(), origins);
    run.command.word(path.to_string_lossy(), None);
    run.environment.insert("CONFIG_FILE_PATH".to_owned(), config.to_string_lossy().into_owned());
    run.inputs.push(input);
    run.socket_handoff = true;
    run.stop_timeout = DRAIN;
}

/// Returns what the gateway serves.
fn routing(builder: &Builder<'_>, gateway: &Gateway, routes: Vec<Route>) -> Routing {
    let stack = &builder.manifest.stack.value;
    let mut settings = json!({
        "litellm_settings": {},
        "router_settings": {},
        "general_settings": { "master_key": "os.environ/LITELLM_MASTER_KEY" },
    });
    let mut origins = Vec::new();
    if let Some(cache) = &builder.manifest.cache {
        let protocol = cache.engine.value.protocol();
        let mut parameters = match cache_server(cache) {
            None => json!({ "type": protocol }),
            Some(server) => {
                let (host, port) = (server.host.bare(), server.port.get());
                let mut parameters = json!({ "type": protocol, "host": host, "port": port, "namespace": stack });
                if server.tls {
                    parameters["ssl"] = true.into();
                }
                if let Some(database) = server.database {
                    parameters["db"] = database.into();
                }
                if cache.password.is_some() {
                    origins.push(Origin::declared("cache.password"));
                    parameters["password"] = format!("os.environ/{CACHE_PASSWORD}").into();
                }
                parameters
            }
        };
        origins.push(Origin::declared("cache"));
        let engine = cache.engine.value.name();
        origins.push(Origin::new("cache.engine", engine));
        origins.extend(cache.port.as_ref().map(|port| Origin::new("cache.port", port.value)));
        origins.extend(cache.endpoint.as_ref().map(|endpoint| Origin::new("cache.endpoint", &endpoint.value.0)));
        if let Some(ttl) = &cache.ttl {
            parameters["ttl"] = ttl.value.0.whole().into();
            origins.push(Origin::new("cache.ttl", ttl.value.0));
        }
        parameters["max_messages"] = MAX_MESSAGES.into();
        settings["litellm_settings"]["cache"] = true.into();
        settings["litellm_settings"]["cache_params"] = parameters;
    }
    let retries = gateway.retries.as_ref().map(|retries| (retries.value, retries.value.to_string()));
    let fails = gateway.allowed_fails.as_ref().map(|fails| (fails.value, fails.value.to_string()));
    let cooldown = gateway.cooldown.as_ref().map(|time| (time.value.0.whole(), time.value.0.to_string()));
    for (key, setting, value) in [
        ("num_retries", "gateway.retries", retries),
        ("allowed_fails", "gateway.allowed_fails", fails),
        ("cooldown_time", "gateway.cooldown", cooldown),
    ] {
        if let Some((value, written)) = value {
            settings["router_settings"][key] = value.into();
            origins.push(Origin::new(setting, written));
        }
    }
    // Routes are the manifest's models, and no settings.
    let mut own = gateway.settings.value.0.clone();
    if let Some(own) = own.as_object_mut() {
        own.shift_remove("model_list");
    }
    merge(&mut settings, &own);
    raw_origins(&ManifestPath::from("gateway.settings"), &own, &mut origins);
    if let Value::Object(sections) = &mut settings {
        sections.retain(|_, section| !section.as_object().is_some_and(Map::is_empty));
    }
    let settings = if let Value::Object(settings) = settings { settings } else { Map::new() };
    Routing { routes, settings, origins, files: Vec::new() }
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

/// Returns the configuration file of what a gateway serves.
pub(in super::super) fn render(stack: &str, routing: &Routing) -> String {
    let models: Vec<Value> = routing.routes.iter().map(|route| deployment(stack, route)).collect();
    let mut config = Map::from_iter([("model_list".to_owned(), Value::from(models))]);
    let related = routing.routes.iter().filter(|route| !route.fallbacks.is_empty());
    let fallbacks: Vec<Value> = related.map(|route| json!({ route.model.as_str(): route.fallbacks })).collect();
    let mut settings = routing.settings.clone();
    if !fallbacks.is_empty() {
        let mut router = Map::from_iter([("fallbacks".to_owned(), Value::from(fallbacks))]);
        if let Some(own) = settings.get("router_settings").and_then(Value::as_object) {
            router.extend(
                own.iter().filter(|(key, _)| *key != "fallbacks").map(|(key, value)| (key.clone(), value.clone())),
            );
        }
        settings.insert("router_settings".to_owned(), router.into());
    }
    for section in ["litellm_settings", "router_settings", "general_settings"] {
        config.extend(settings.shift_remove(section).map(|settings| (section.to_owned(), settings)));
    }
    config.extend(settings);
    yaml(&config.into())
}

fn deployment(stack: &str, route: &Route) -> Value {
    // A key is asked for even where the server asks for none.
    let key = route.key.as_ref().map_or_else(|| "none".to_owned(), |variable| format!("os.environ/{variable}"));
    let facts = json!({ "id": format!("{stack}/{}", route.model), "mode": route.mode.to_string() });
    json!({
        "model_name": route.model,
        "litellm_params": { "model": route.upstream, "api_base": route.address, "api_key": key },
        "model_info": facts,
    })
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

/// Adds settings of the user's own; where both say something, ours stays.
fn merge(config: &mut Value, settings: &Value) {
    let (Value::Object(config), Value::Object(settings)) = (config, settings) else { return };
    for (key, value) in settings {
        match config.get_mut(key) {
            Some(known) => merge(known, value),
            None => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
}
