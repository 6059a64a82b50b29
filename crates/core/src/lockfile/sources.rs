//! The sources of a manifest that can be pinned.

use crate::engines::Models;
use crate::manifest::{self, Common, Entry, Manifest, Model, Provider, RuntimeName};
use crate::resource::{Digest, ImageName, OllamaName};

/// The origin of a source's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A model registry, queried as Ollama does.
    Ollama {
        /// The name that is pulled.
        name: OllamaName,
        /// True if its registry is reached over plain HTTP.
        insecure: bool,
    },
    /// A file in a repository of the model hub.
    Hub {
        /// `organization/repository`.
        repository: String,
        /// The file's path in it.
        file: String,
        /// The branch, tag or commit.
        revision: Option<String>,
    },
    /// A whole repository of the model hub, which its server downloads itself.
    Repository {
        /// `organization/repository`.
        repository: String,
        /// The branch, tag or commit.
        revision: Option<String>,
    },
    /// An address.
    Url(String),
    /// A registry of container images.
    Image(ImageName),
}

/// One source that can be pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its key in the lock file.
    pub key: String,
    /// The origin of its content.
    pub origin: Origin,
    /// The models and other parts of the stack that use it.
    pub parts: Vec<String>,
    /// The digest that the manifest itself declares.
    pub declared: Option<Digest>,
}

/// Returns every source of a manifest that can be pinned, in the order of the manifest: models, then images.
#[must_use]
pub fn sources(manifest: &Manifest) -> Vec<Source> {
    let models = manifest.models.iter().filter_map(|model| {
        let provider = manifest.providers.iter().find(|provider| provider.name.value == model.value.provider.value)?;
        source(provider, model)
    });
    let providers = manifest.providers.iter().map(|entry| (entry.name.value.as_str(), entry.value.common()));
    let services = manifest.services.iter().map(|entry| (entry.name.value.as_str(), entry.value.common()));
    let gateway = manifest.gateway.iter().map(|gateway| ("gateway", gateway.common()));
    let cache = manifest.cache.iter().map(|cache| ("cache", cache.common()));
    let images = providers.chain(cache).chain(gateway).chain(services).filter_map(|(part, common)| image(part, common));
    let mut sources: Vec<Source> = Vec::new();
    for source in models.chain(images) {
        match sources.iter_mut().find(|known| known.key == source.key) {
            Some(known) => {
                known.parts.extend(source.parts);
                known.declared = known.declared.take().or(source.declared);
            }
            None => sources.push(source),
        }
    }
    sources
}

fn image(part: &str, common: Common<'_>) -> Option<Source> {
    common.runtime.filter(|runtime| runtime.value == RuntimeName::Docker)?;
    let name = common.image.map(|image| image.value.name.clone()).filter(|name| name.digest().is_none())?;
    let key = format!("image:{name}");
    Some(Source { key, origin: Origin::Image(name), parts: vec![part.to_owned()], declared: None })
}

fn source(provider: &Entry<Provider>, model: &Entry<Model>) -> Option<Source> {
    let external = provider.value.is_external();
    let source = model.value.source.as_ref().map(|source| &source.value);
    let origin = match (provider.value.engine.value.models(), source) {
        (Models::Pulled, _) if !external || provider.value.manage.is_some() => {
            Origin::Ollama { name: model.ollama_name()?, insecure: model.value.insecure.value }
        }
        (Models::File | Models::Repository, Some(source)) if !external => content(source)?,
        _ => return None,
    };
    let key = match &origin {
        Origin::Ollama { name, .. } => name.pin_key(),
        _ => source?.to_string(),
    };
    let declared = model.value.sha256.as_ref().map(|sha256| sha256.value.0.clone());
    Some(Source { key, origin, parts: vec![model.name.value.clone()], declared })
}

/// Returns the origin of a source's content; a path and the output of a command are not pinned.
fn content(source: &manifest::Source) -> Option<Origin> {
    match source {
        manifest::Source::Hub(hub) => {
            let (repository, revision) = (hub.name(), hub.revision.clone());
            Some(match hub.file.clone() {
                Some(file) => Origin::Hub { repository, file, revision },
                None => Origin::Repository { repository, revision },
            })
        }
        manifest::Source::Url(url) => Some(Origin::Url(url.to_string())),
        _ => None,
    }
}
