//! Providers with one server for all their models: each model is a resource that the server is asked to pull.
//!
//! Where a model is to see another context or have other settings than it was published with, a model of llamero's own
//! is made from it: a request that asks for other options than those loaded would load the model anew.

use super::gpus::{gpus, in_container, share_of_gpu};
use super::route::{loopback_port, provider_path, route};
use crate::engines::{PulledServer, Route};
use crate::manifest::{Entry, Load, Mode, Model, Provider, Source};
use crate::resolve::build::Builder;
use crate::resolve::server::{Declaration, Server, listen};
use crate::resource::{
    Digest, Kind, ManifestPath, Note, OllamaName, Origin, Origins, Resource, ResourceId, ServedModel, Spec,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Adds a provider that the stack runs, and its models; returns the routes to them.
pub(super) fn add(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let Some(port) = provider.value.port.as_ref().map(|port| port.get()) else { return Vec::new() };
    let path = format!("providers.{}", provider.name.value);
    let engine = provider.value.engine.value.0;
    share_of_gpu(builder, provider, 1);
    let stack = &builder.manifest.stack.value;
    let launch = engine.pulled_server(&PulledServer {
        provider_path: path.as_str().into(),
        listen: listen(provider.value.common()),
        port,
        home: builder.facts.directories.home.clone(),
        volume: in_container(provider).then(|| format!("{stack}-{}", provider.name.value)),
        settings: engine.settings().read(&provider.value.settings.0).0,
        own_command: provider.value.command.is_some(),
    });
    let Some(launch) = launch else { return Vec::new() };
    let store = launch.store.clone();
    let endpoint = format!("http://127.0.0.1:{port}");
    let declaration = Declaration {
        part: provider.name.value.clone(),
        role: path.clone(),
        path: path.into(),
        span: provider.name.span.clone(),
        common: provider.value.common(),
    };
    let server = Server {
        ports: vec![port],
        gpus: gpus(provider),
        ..Server::declared(declaration, engine.title().to_owned(), engine.probe(&endpoint, None))
    };
    let server = builder.server(&server.launched(engine, launch));
    models(builder, provider, &endpoint, server.as_ref(), store.as_ref())
}

/// Adds the models of a provider, on a server of the stack or an external one; returns the routes to them.
pub(super) fn models(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    endpoint: &str,
    server: Option<&ResourceId>,
    store: Option<&PathBuf>,
) -> Vec<Route> {
    let manifest = builder.manifest;
    let mut sources: BTreeMap<OllamaName, Declared<'_>> = BTreeMap::new();
    let mut routes = Vec::new();
    for entry in manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value) {
        let Some(source) = source(builder, entry) else { continue };
        agree(builder, &mut sources, &source, entry);
    }
    for entry in manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value) {
        let Some((source, declared)) = entry.ollama_name().and_then(|name| sources.get_key_value(&name)) else {
            continue;
        };
        let model = served(builder, entry, (source, declared), endpoint, store);
        let mut origins: Vec<Origin> =
            entry.value.source.iter().map(|source| Origin::new(source_path(entry), &source.value)).collect();
        let path = ManifestPath::from(format!("providers.{}", provider.name.value));
        let at = provider.value.endpoint.as_ref();
        origins.extend(at.map(|at| Origin::new(path.key("endpoint"), &at.value.0).through(provider_path(entry))));
        let port = provider.value.port.as_ref().map(|port| port.get());
        origins.extend(port.map(|port| Origin::new(path.key("port"), port).through(provider_path(entry))));
        let port = port.or_else(|| loopback_port(&provider.value));
        let upstream = model.name.to_string();
        routes.push(Route { port, ..route(provider, entry, &upstream, (endpoint, endpoint), origins) });
        let name = if model.is_derived() {
            Builder::name(&format!("{}-{}", provider.name.value, entry.name.value))
        } else {
            shared_name(&provider.name.value, source)
        };
        let resource = Resource {
            id: ResourceId::new(Kind::Model, name),
            role: format!("models.{}", entry.name.value),
            spec: Spec::Model(Box::new(model)),
            needs: server.cloned().into_iter().collect(),
            origins: model_origins(entry),
        };
        builder.add_model(resource, &entry.name.span);
    }
    routes
}

fn source_path(entry: &Entry<Model>) -> ManifestPath {
    format!("models.{}.source", entry.name.value).into()
}

/// Returns the settings that the fields of a model come from.
fn model_origins(entry: &Entry<Model>) -> Origins {
    let path = ManifestPath::from(format!("models.{}", entry.name.value));
    let model = &entry.value;
    let mut origins = Origins::default();
    let source = model.source.as_ref().map(|source| Origin::new(path.key("source"), &source.value));
    origins.add("source", source);
    for (name, value) in model.parameters.iter().filter_map(|parameters| parameters.value.0.as_object()).flatten() {
        origins.add(name, [Origin::new(path.key("parameters").key(name), value)]);
    }
    if let Some(context) = &model.context {
        origins.0.remove("num_ctx");
        origins.add("num_ctx", [Origin::new(path.key("context"), context.value)]);
    }
    for (name, text) in [("template", &model.template), ("system", &model.system)] {
        origins.add(name, text.as_ref().map(|_| Origin::opaque(path.key(name))));
    }
    origins
}

/// The declarations of one source; it is one live thing, however many models are made from it.
struct Declared<'a> {
    insecure: bool,
    sha256: Option<Digest>,
    by: &'a Entry<Model>,
}

/// Adds what a model says of its source to what others say.
fn agree<'a>(
    builder: &mut Builder<'_>,
    sources: &mut BTreeMap<OllamaName, Declared<'a>>,
    source: &OllamaName,
    entry: &'a Entry<Model>,
) {
    let insecure = entry.value.insecure.value;
    let sha256 = entry.value.sha256.as_ref().map(|sha256| sha256.value.0.clone());
    let Some(known) = sources.get_mut(source) else {
        sources.insert(source.clone(), Declared { insecure, sha256, by: entry });
        return;
    };
    let other = &known.by.name.value;
    let (path, span) = (format!("models.{}", entry.name.value), &entry.name.span);
    if known.insecure != insecure {
        let message = format!("`{other}` and this model have one source, `{source}`, and differ in `insecure`");
        builder.note(Note::error("same-source", message).hint("write the same for both"), path.clone(), span);
    }
    match (&known.sha256, sha256) {
        (Some(one), Some(other_digest)) if *one != other_digest => {
            let message = format!("`{other}` and this model have one source, `{source}`, and differ in `sha256`");
            builder.note(Note::error("same-source", message).hint("a tag has one content at a time"), path, span);
        }
        (None, digest) => known.sha256 = digest,
        _ => {}
    }
}

/// Returns the name that a model is pulled by. A manifest whose names cannot be pulled is not valid.
fn source(builder: &mut Builder<'_>, entry: &Entry<Model>) -> Option<OllamaName> {
    if let Some(source) = entry.value.source.as_ref().filter(|source| matches!(source.value, Source::Command(_))) {
        let path = format!("models.{}.source", entry.name.value);
        builder.unsupported("making a pulled model by a command", path, &source.span);
    }
    entry.ollama_name()
}

fn served(
    builder: &mut Builder<'_>,
    entry: &Entry<Model>,
    (source, declared): (&OllamaName, &Declared<'_>),
    endpoint: &str,
    store: Option<&PathBuf>,
) -> ServedModel {
    let model = &entry.value;
    let pin = builder.pin(&source.pin_key(), entry).map(|pin| pin.sha256.clone());
    let mut parameters = own_parameters(builder, model);
    if let Some(context) = &model.context {
        parameters.insert("num_ctx".to_owned(), context.value.into());
    }
    let template = model.template.as_ref().map(|template| template.value.clone());
    let system = model.system.as_ref().map(|system| system.value.clone());
    let derived = !parameters.is_empty() || template.is_some() || system.is_some();
    let own = || own_name(&builder.manifest.stack.value, &entry.name.value);
    ServedModel {
        endpoint: endpoint.to_owned(),
        name: if derived { own() } else { source.clone() },
        source: source.clone(),
        insecure: declared.insecure,
        sha256: declared.sha256.clone().or(pin),
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
    }
}

/// Returns the parameters of a model, each of its engine's type.
fn own_parameters(builder: &Builder<'_>, model: &Model) -> Map<String, Value> {
    let provider = builder.manifest.providers.find(&model.provider);
    let known = provider.map(|provider| provider.engine.value.0.model_fields().parameters);
    let read = known.zip(model.parameters.as_ref()).map(|(known, given)| known.read(&given.value.0).0);
    read.into_iter().flatten().map(|(name, parameter)| (name.to_owned(), parameter.into())).collect()
}

/// Returns the name of a model that llamero makes: the stack's and the manifest's names for it. It says nothing of the
/// source or the settings, so that it stays the same when they change, and every model of a manifest has its own.
fn own_name(stack: &str, model: &str) -> OllamaName {
    let name = format!("llamero-{stack}/{}", readable(model));
    OllamaName::parse(&name).expect("a readable name is a model's name")
}

/// Returns the name of the resource that every model shares which is its source under another name. The colon keeps it
/// apart from the models that llamero makes.
fn shared_name(provider: &str, source: &OllamaName) -> String {
    let (text, tag) = (source.shortest().to_ascii_lowercase(), source.tag().to_ascii_lowercase());
    let path = text.strip_suffix(&tag).and_then(|path| path.strip_suffix(':')).unwrap_or(&text);
    let simple = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let path = if simple {
        path.to_owned()
    } else {
        format!("{}-{}", Builder::plain(path).chars().take(60).collect::<String>(), &Digest::of(path).as_str()[..8])
    };
    format!("{provider}-{path}:{tag}")
}

/// Returns a text as Ollama's `model` or `model:tag`: unchanged if it is one in lower-case letters, and otherwise with
/// a digest, because Ollama takes names that differ in their case for one.
fn readable(text: &str) -> String {
    let is_part = |part: &str| {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        part.len() <= 80 && !part.is_empty() && part.bytes().all(letters) && !part.starts_with(['-', '.'])
    };
    let (model, tag) = text.split_once(':').map_or((text, None), |(model, tag)| (model, Some(tag)));
    // Tags that mean something else than a model's variant: the default, Ollama's own words, copies of llamero's.
    let is_tag = |tag: &str| {
        let taken = matches!(tag, "latest" | "local" | "cloud") || tag.ends_with("-cloud") || tag.starts_with("kept-");
        is_part(tag) && !taken
    };
    if is_part(model) && tag.is_none_or(is_tag) {
        return text.to_owned();
    }
    let plain: String = Builder::plain(text).chars().take(60).collect();
    let plain = plain.trim_matches('-');
    format!("{}-{}", if plain.is_empty() { "model" } else { plain }, &Digest::of(text).as_str()[..8])
}

#[cfg(test)]
mod tests {
    use super::{own_name, shared_name};
    use crate::resource::OllamaName;
    use std::collections::BTreeSet;

    #[test]
    fn models_of_llameros_own_are_readable_and_distinct() {
        let shown = |model: &str| own_name("home", model).shortest();
        assert_eq!(shown("qwen3"), "llamero-home/qwen3:latest");
        assert_eq!(shown("llama3.1:8b"), "llamero-home/llama3.1:8b");
        let longest = "x".repeat(128);
        let names = [
            "a",
            "A",
            "a.b",
            "a-b",
            "a/b",
            "a:b",
            "A:b",
            "a:latest",
            "a:local",
            "a:x-cloud",
            "a:kept-0",
            "a:b:c",
            "🦙",
            ".",
            "-",
            "_",
            &longest,
            &longest[1..],
        ];
        let distinct: BTreeSet<OllamaName> =
            names.iter().map(|name| own_name("a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p", name)).collect();
        assert_eq!(distinct.len(), names.len(), "{distinct:?}");
    }

    #[test]
    fn a_source_has_one_name_however_its_letters_are_written() {
        let name = |text: &str| shared_name("ollama", &OllamaName::parse(text).expect("a name"));
        assert_eq!(name("Llama3.1:8B"), "ollama-llama3.1:8b");
        assert_eq!(name("q"), name("library/Q:latest"));
        assert_ne!(name("ann/q"), name("bob/q"));
        assert_eq!(name("HF.co/Ann/Q"), name("hf.co/ann/q"));
    }
}
