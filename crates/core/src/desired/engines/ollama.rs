//! Ollama: one server for all its models, and each model as a resource that the server is asked for.
//!
//! Where a model is to see another context or have other settings than it was published with, a model of llamero's own
//! is made from it: a request that asks for other options than those loaded would load the model anew.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, listen};
use super::{Route, gpus};
use crate::manifest::{Entry, Load, Mode, Model, Provider, RuntimeName, Source};
use crate::resource::{
    Digest, Kind, Mount, MountSource, Note, OllamaName, Probe, Resource, ResourceId, ServedModel, Spec,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Where the image of Ollama keeps what it has.
const INSIDE: &str = "/root/.ollama";

/// What may stand under `settings`, and the variable that Ollama reads it from.
const SETTINGS: [(&str, &str); 9] = [
    ("context_length", "OLLAMA_CONTEXT_LENGTH"),
    ("flash_attention", "OLLAMA_FLASH_ATTENTION"),
    ("gpu_overhead", "OLLAMA_GPU_OVERHEAD"),
    ("keep_alive", "OLLAMA_KEEP_ALIVE"),
    ("kv_cache_type", "OLLAMA_KV_CACHE_TYPE"),
    ("load_timeout", "OLLAMA_LOAD_TIMEOUT"),
    ("max_loaded_models", "OLLAMA_MAX_LOADED_MODELS"),
    ("max_queue", "OLLAMA_MAX_QUEUE"),
    ("num_parallel", "OLLAMA_NUM_PARALLEL"),
];

/// Adds a provider that the stack runs, and its models; returns the routes to them.
pub(in super::super) fn add(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let Some(port) = provider.value.port.as_ref().map(|port| port.value.0) else { return Vec::new() };
    let path = format!("providers.{}", provider.name.value);
    if let Some(memory) = &provider.value.memory {
        builder.not_yet("a budget of GPU memory", format!("{path}.memory"), &memory.span);
    }
    // A container keeps its models in a volume: what it writes as root is nothing for the user's home.
    let in_container = provider.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    let store = if in_container {
        PathBuf::from(INSIDE).join("models")
    } else {
        builder.facts.places.home.join(".ollama").join("models")
    };
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut environment = settings(builder, provider);
    environment.insert("OLLAMA_HOST".to_owned(), format!("{}:{port}", listen(provider.value.common())));
    environment.insert("OLLAMA_MODELS".to_owned(), store.to_string_lossy().into_owned());
    let volume = format!("{}-{}", builder.manifest.stack.value, provider.name.value);
    let volume = Mount { source: MountSource::Volume(volume), target: INSIDE.into(), read_only: false };
    let server = builder.server(&Server {
        part: provider.name.value.clone(),
        role: path,
        span: provider.name.span.clone(),
        description: format!("Ollama (llamero, stack {})", builder.manifest.stack.value),
        common: provider.value.common(),
        program: Some("ollama"),
        arguments: if provider.value.command.is_none() { vec!["serve".to_owned()] } else { Vec::new() },
        environment,
        secrets: Vec::new(),
        ports: vec![port],
        probe: Probe::Ollama { endpoint: endpoint.clone() },
        inputs: Vec::new(),
        needs: BTreeSet::new(),
        last: Vec::new(),
        working_directory: None,
        gpus: gpus(provider),
        contained: Contained { mounts: vec![volume], ..Contained::default() },
    });
    models(builder, provider, &endpoint, server.as_ref(), Some(&store).filter(|_| !in_container))
}

/// Adds the models of a provider, on a server of the stack's or of somebody else's; returns the routes to them.
pub(in super::super) fn models(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    endpoint: &str,
    server: Option<&ResourceId>,
    store: Option<&PathBuf>,
) -> Vec<Route> {
    let manifest = builder.manifest;
    let mut routes = Vec::new();
    for entry in manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value) {
        let Some(model) = served(builder, entry, endpoint, store) else { continue };
        let prefix = if entry.value.mode == Mode::Embedding { "ollama" } else { "ollama_chat" };
        routes.push(Route {
            name: entry.name.value.clone(),
            model: format!("{prefix}/{}", model.name),
            api_base: endpoint.to_owned(),
            api_key: None,
            mode: entry.value.mode,
            fallbacks: entry.value.fallbacks.iter().map(|name| name.value.clone()).collect(),
        });
        let name = Builder::name(&format!("{}-{}", provider.name.value, entry.name.value));
        let resource = Resource {
            id: ResourceId::new(Kind::Model, name),
            role: format!("models.{}", entry.name.value),
            spec: Spec::Model(model),
            needs: server.cloned().into_iter().collect(),
        };
        builder.add(resource, &entry.name.span);
    }
    routes
}

fn served(
    builder: &mut Builder<'_>,
    entry: &Entry<Model>,
    endpoint: &str,
    store: Option<&PathBuf>,
) -> Option<ServedModel> {
    let path = format!("models.{}", entry.name.value);
    let model = &entry.value;
    let text = match model.source.as_ref().map(|source| &source.value) {
        Some(Source::Text(text)) => text.clone(),
        Some(Source::Command(_)) => {
            builder.not_yet("making an Ollama model by a command", path, &entry.name.span);
            return None;
        }
        None => entry.name.value.clone(),
    };
    let source = match OllamaName::parse(&text) {
        Ok(source) => source,
        Err(why) => {
            builder.note(Note::error("source", format!("Ollama cannot pull `{text}`: {why}")), path, &entry.name.span);
            return None;
        }
    };
    let pin = builder.pin(&format!("ollama:{}", source.shortest()), entry).map(|pin| pin.sha256.clone());
    let sha256 = model.sha256.as_ref().and_then(|text| Digest::parse(text)).or(pin);
    let mut parameters = Map::new();
    if let Some(Value::Object(own)) = model.parameters.as_ref().map(|parameters| &parameters.value.0) {
        parameters.extend(own.clone());
    }
    if let Some(context) = &model.context {
        parameters.insert("num_ctx".to_owned(), context.value.into());
    }
    let template = model.template.as_ref().map(|template| template.value.clone());
    let system = model.system.as_ref().map(|system| system.value.clone());
    let derived = !parameters.is_empty() || template.is_some() || system.is_some();
    let own = format!("llamero-{}/{}:{}", builder.manifest.stack.value, source.model(), source.tag());
    Some(ServedModel {
        endpoint: endpoint.to_owned(),
        name: if derived { own } else { source.shortest() },
        source: source.shortest(),
        insecure: model.insecure.value,
        sha256,
        keep_free: builder.keep_free(),
        parameters,
        template,
        system,
        pinned: model.load.as_ref().is_some_and(|load| load.value == Load::Pinned),
        embedding: model.mode == Mode::Embedding,
        manifest: store.map(|store| {
            let folder = store.join("manifests").join(source.host()).join(source.namespace());
            folder.join(source.model()).join(source.tag())
        }),
    })
}

fn settings(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let path = format!("providers.{}.settings", provider.name.value);
    let settings = provider.value.settings.0.as_object().cloned().unwrap_or_default();
    for (name, value) in settings {
        let known = SETTINGS.iter().find(|(known, _)| *known == name);
        let text = match &value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(on) => Some(u8::from(*on).to_string()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        if let (Some((_, variable)), Some(text)) = (known, text) {
            environment.insert((*variable).to_owned(), text);
        } else {
            let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
            let note = Note::error("unknown-key", format!("`{name}` is not a setting of Ollama that llamero knows"));
            let hint = format!("the settings are {}; others go under `env`", names.join(", "));
            builder.note(note.hint(hint), path.clone(), &provider.name.span);
        }
    }
    environment
}
