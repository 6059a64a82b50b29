//! llama.cpp's server: one for each model, with every setting that matters said, so that nothing is guessed at start.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, listen};
use super::super::routes::Route;
use super::{gpus, port_origin, route};
use crate::manifest::{Entry, Mode, Model, Provider, Source};
use crate::render::source::{content_name, hub_url};
use crate::resource::{
    AnswerKind, Artifact, ArtifactSource, Command, Digest, HttpProbe, Input, Kind, ManifestPath, Meaning, Origin,
    Origins, Probe, Resource, ResourceId, SecretReference, Spec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Adds the servers of a provider's models.
pub(in super::super) fn add(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let path = format!("providers.{}", provider.name.value);
    if let Some(memory) = &provider.value.memory {
        builder.unsupported("a budget of GPU memory", format!("{path}.memory"), &memory.span);
    }
    let manifest = builder.manifest;
    let mut routes = Vec::new();
    for (model, port) in super::ports(manifest, provider) {
        server(builder, provider, model, port);
        routes.push(route(provider, model, prefix(model.value.mode), port));
    }
    routes
}

/// Returns the word by which `LiteLLM` knows how to talk to a server of `OpenAI`'s protocol.
pub(in super::super) const fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Chat | Mode::Embedding => "openai",
        Mode::Completion => "text-completion-openai",
    }
}

fn server(builder: &mut Builder<'_>, provider: &Entry<Provider>, model: &Entry<Model>, port: u16) {
    let name = &model.name.value;
    let settings = &model.value;
    let Some((artifact, file, digest)) = artifact(builder, provider, model) else { return };
    let path = ManifestPath::from(format!("models.{name}"));
    let origin = |key: &str, value: &dyn ToString| Some(Origin::new(path.key(key), value.to_string()));
    let mut arguments = Command::default();
    let source = settings.source.as_ref().and_then(|source| origin("source", &source.value));
    arguments.option("--model", file.display(), source);
    arguments.option("--alias", name, Some(Origin::declared(path.clone())));
    arguments.option("--host", listen(provider.value.common()), None);
    arguments.option("--port", port, port_origin(provider, model));
    let numbers = [
        ("--ctx-size", "context", &settings.context),
        ("--parallel", "parallel", &settings.parallel),
        ("--n-gpu-layers", "gpu_layers", &settings.gpu_layers),
    ];
    for (flag, key, number) in numbers {
        if let Some(number) = number {
            arguments.option(flag, number.value, origin(key, &number.value));
        }
    }
    if let Some(kind) = &settings.kv_cache_type {
        for flag in ["--cache-type-k", "--cache-type-v"] {
            arguments.option(flag, &kind.value, origin("kv_cache_type", &kind.value));
        }
    }
    if let Some(on) = &settings.flash_attention {
        let word = if on.value { "on" } else { "off" };
        arguments.option("--flash-attn", word, origin("flash_attention", &on.value));
    }
    if settings.mode == Mode::Embedding {
        arguments.switch("--embedding", origin("mode", &settings.mode));
    }
    let endpoint = format!("http://127.0.0.1:{port}");
    let part = if *name == provider.name.value { name.clone() } else { format!("{}-{name}", provider.name.value) };
    builder.server(&Server {
        part,
        role: format!("models.{name}"),
        span: model.name.span.clone(),
        description: format!("{name} on llama.cpp (llamero, stack {})", builder.manifest.stack.value),
        common: provider.value.common(),
        program: Some("llama-server"),
        path: format!("providers.{}", provider.name.value).into(),
        arguments,
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports: vec![port],
        probe: probe(endpoint, name),
        inputs: vec![Input { resource: artifact.clone(), digest }],
        needs: BTreeSet::from([artifact]),
        engine: Some("llama-cpp"),
        last: Some((&settings.args.value.0, path.key("args"))),
        origins: Origins::default(),
        working_directory: None,
        gpus: gpus(provider),
        contained: Contained::default(),
    });
}

/// Returns the question whether a server has loaded and offers a model.
#[must_use]
pub fn probe(endpoint: String, model: &str) -> Probe {
    // The socket is open before the model is there; until then every path answers 503.
    let loading = Meaning::loading(AnswerKind::Status(503), "the model is loading");
    Probe::Http(HttpProbe::of_model(endpoint, "/health", vec![loading.where_body_contains("Loading model")], model))
}

/// Adds a model's file; returns its name, its place and the digest by which a server notices another.
fn artifact(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    model: &Entry<Model>,
) -> Option<(ResourceId, PathBuf, Digest)> {
    let role = format!("models.{}", model.name.value);
    let source = model.value.source.as_ref()?;
    let directories = &builder.facts.directories;
    let own = builder.manifest.machine.models.path.as_ref();
    let folder = own.map_or_else(|| directories.data.join("llamero").join("models"), |path| directories.expand(path));
    let mut needs = BTreeSet::new();
    let mut sha256 = model.value.sha256.as_ref().and_then(|text| Digest::parse(text));
    let (origin, kind, (path, known)) = match &source.value {
        Source::Text(text) => {
            if let Some(path) = text.strip_prefix("file:") {
                let path = directories.expand(path.trim_start_matches("//"));
                (text.clone(), ArtifactSource::File, (path, sha256.clone()))
            } else {
                let pin = builder.pin(text, model);
                let (url, token) = address(builder, text, pin.and_then(|pin| pin.revision.as_deref()))?;
                sha256 = sha256.or_else(|| pin.map(|pin| pin.sha256.clone()));
                let file = url.rsplit('/').next().and_then(|name| name.split(['?', '#']).next()).unwrap_or("model");
                let place = place(builder, &folder, text, sha256.as_ref(), file);
                (text.clone(), ArtifactSource::Url { url, token }, place)
            }
        }
        Source::Command(words) => {
            let path = format!("providers.{}", provider.name.value);
            let installed = builder.install(&provider.value.install, &path, &path.as_str().into());
            needs.extend(installed.iter().map(|(id, _)| id.clone()));
            let environment = installed.as_ref().map(|(_, path)| path.as_path());
            let argv = builder.command(words, environment, &role, &source.span)?;
            let file = format!("{}.gguf", Builder::name(&model.name.value));
            let origin = words.join(" ");
            let place = place(builder, &folder, &origin, sha256.as_ref(), &file);
            (origin, ArtifactSource::Command { argv }, place)
        }
    };
    // By its place alone: two models made of one file share it.
    let unique = Digest::of(path.to_string_lossy().as_bytes());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let id = ResourceId::new(Kind::Artifact, format!("{}-{}", Builder::plain(&stem), &unique.as_str()[..6]));
    let keep_free = builder.keep_free();
    let digest = content_name(&origin, known.as_ref());
    let spec = Spec::Artifact(Artifact { path: path.clone(), source: kind, sha256, keep_free, origin });
    let mut origins = Origins::of("source", [Origin::new(format!("{role}.source"), &source.value)]);
    let declared = model.value.sha256.as_ref().map(|sha256| Origin::new(format!("{role}.sha256"), &sha256.value));
    origins.add("sha256", declared);
    builder.add_artifact(Resource { id: id.clone(), role, spec, needs, origins }, &model.name.span);
    Some((id, path, digest))
}

/// Returns where a source's content belongs, and the digest that is part of the place. Each content has its own place,
/// so that another never takes that of the one to go back to. What is there from before it was pinned stays where it is:
/// to pin it restarts nothing.
fn place(
    builder: &Builder<'_>,
    folder: &Path,
    origin: &str,
    sha256: Option<&Digest>,
    file: &str,
) -> (PathBuf, Option<Digest>) {
    let open = folder.join(content_name(origin, None).short()).join(file);
    match sha256.filter(|sha256| builder.facts.fetched.get(&open) != Some(*sha256)) {
        Some(sha256) => (folder.join(content_name(origin, Some(sha256)).short()).join(file), Some(sha256.clone())),
        None => (open, None),
    }
}

/// Returns the address of a source, and the token that its server wants.
fn address(builder: &Builder<'_>, text: &str, pinned: Option<&str>) -> Option<(String, Option<SecretReference>)> {
    let Some(rest) = text.strip_prefix("hf:") else { return Some((text.to_owned(), None)) };
    let (path, revision) = rest.split_once('@').map_or((rest, None), |(path, revision)| (path, Some(revision)));
    let mut parts = path.splitn(3, '/');
    let (organisation, repository, file) = (parts.next()?, parts.next()?, parts.next()?);
    let token = builder.facts.hub_token.then(|| SecretReference::Env("HF_TOKEN".to_owned()));
    Some((hub_url(&builder.facts.hub, organisation, repository, file, pinned.or(revision)), token))
}
