//! llama.cpp's server: one for each model, with every setting that matters said, so that nothing is guessed at start.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, listen};
use super::{Route, gpus, route};
use crate::manifest::{Entry, Mode, Model, Provider, Source, Spanned};
use crate::render::source::{content_name, hub_url};
use crate::resource::{
    Artifact, ArtifactSource, Digest, Input, Kind, Probe, Resource, ResourceId, SecretReference, Spec,
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
        routes.push(route(model, prefix(model.value.mode), port));
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
    let mut arguments: Vec<String> = Vec::new();
    let mut say = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([flag.to_owned(), value]);
        }
    };
    say("--model", Some(file.to_string_lossy().into_owned()));
    say("--alias", Some(name.clone()));
    say("--host", Some(listen(provider.value.common()).to_owned()));
    say("--port", Some(port.to_string()));
    say("--ctx-size", number(settings.context.as_ref()));
    say("--parallel", number(settings.parallel.as_ref()));
    say("--n-gpu-layers", number(settings.gpu_layers.as_ref()));
    let cache_type = settings.kv_cache_type.as_ref().map(|kind| kind.value.clone());
    say("--cache-type-k", cache_type.clone());
    say("--cache-type-v", cache_type);
    let attention = settings.flash_attention.as_ref().map(|on| if on.value { "on" } else { "off" }.to_owned());
    say("--flash-attn", attention);
    if settings.mode == Mode::Embedding {
        arguments.push("--embedding".to_owned());
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
        arguments,
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports: vec![port],
        probe: Probe::LlamaCpp { endpoint, model: name.clone() },
        inputs: vec![Input { resource: artifact.clone(), digest }],
        needs: BTreeSet::from([artifact]),
        last: settings.args.value.0.clone(),
        working_directory: None,
        gpus: gpus(provider),
        contained: Contained::default(),
    });
}

fn number(value: Option<&Spanned<u64>>) -> Option<String> {
    value.map(|value| value.value.to_string())
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
            let installed = builder.install(&provider.value.install, &format!("providers.{}", provider.name.value));
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
    builder.add_artifact(Resource { id: id.clone(), role, spec, needs }, &model.name.span);
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
