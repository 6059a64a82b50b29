//! The files that models are: where each comes from, and its place on this machine.

use crate::manifest::{Entry, HubSource, Model, Provider, Source, file_name};
use crate::render::source::{content_name, hub_url};
use crate::resolve::build::Builder;
use crate::resource::{
    Artifact, ArtifactSource, Digest, Kind, Origin, Origins, Resource, ResourceId, SecretReference, Spec,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Adds a model's file; returns its name, its place and the digest by which a server notices another.
pub(super) fn artifact(
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
    let mut sha256 = model.value.sha256.as_ref().map(|sha256| sha256.value.0.clone());
    let origin = source.value.to_string();
    let (kind, (path, known)) = match &source.value {
        Source::File(path) => (ArtifactSource::File, (directories.expand(path), sha256.clone())),
        Source::Hub(_) | Source::Url(_) => {
            let pin = builder.pin(&origin, model);
            let (url, token) = address(builder, &source.value, pin.and_then(|pin| pin.revision.as_deref()))?;
            sha256 = sha256.or_else(|| pin.map(|pin| pin.sha256.clone()));
            let place = place(builder, &folder, &origin, sha256.as_ref(), file_name(&url));
            (ArtifactSource::Url { url, token }, place)
        }
        Source::Command(words) => {
            let path = format!("providers.{}", provider.name.value);
            let installed = builder.install(&provider.value.install, &path, &path.as_str().into());
            needs.extend(installed.iter().map(|(id, _)| id.clone()));
            let environment = installed.as_ref().map(|(_, path)| path.as_path());
            let argv = builder.command(words, environment, &role, &source.span)?;
            let file = format!("{}.gguf", Builder::name(&model.name.value));
            (ArtifactSource::Command { argv }, place(builder, &folder, &origin, sha256.as_ref(), &file))
        }
        Source::Name(_) | Source::Path(_) => return None,
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
/// so that another never takes the place that a rollback needs. What is there from before it was pinned stays where it
/// is: to pin it restarts nothing.
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

/// Returns the address of a download, and the token that its server wants.
fn address(builder: &Builder<'_>, source: &Source, pinned: Option<&str>) -> Option<(String, Option<SecretReference>)> {
    match source {
        Source::Url(url) => Some((url.to_string(), None)),
        Source::Hub(HubSource { organization, repository, file: Some(file), revision }) => {
            let token = builder.facts.hub_token.then(|| SecretReference::Env("HF_TOKEN".to_owned()));
            let revision = pinned.or(revision.as_deref());
            Some((hub_url(&builder.facts.hub, organization, repository, file, revision), token))
        }
        _ => None,
    }
}
