//! The specification of each kind of resource.

use super::fingerprint::{Digest, Fields, Fingerprint};
use super::id::{Kind, ResourceId};
use super::image_name::ImageName;
use super::ollama_name::OllamaName;
use super::origin::Origins;
use super::run::Run;
use super::secret::{Content, SecretReference};
use super::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The source of a model file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactSource {
    /// A file of the user's own: it is checked, never changed or removed.
    File,
    /// An address to download.
    Url {
        /// The full address.
        url: String,
        /// The bearer token to send to that host, and to no other.
        token: Option<SecretReference>,
    },
    /// A command that makes the file; `{path}` in it is replaced by the path to write.
    Command {
        /// The command; the first word is an absolute path.
        argv: Vec<String>,
    },
}

/// A model file on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its path.
    pub path: PathBuf,
    /// Its source.
    pub source: ArtifactSource,
    /// The required digest.
    pub sha256: Option<Digest>,
    /// The space that must stay free on its disk.
    pub keep_free: Bytes,
    /// The source as the manifest writes it, for people.
    pub origin: String,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Its name, with the digest that holds it where there is one.
    pub name: ImageName,
}

/// An isolated Python environment. Its path is named by its requirements: it is made whole or not at all, and never
/// changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The folder.
    pub path: PathBuf,
    /// The installed requirements, in the syntax of `pip`.
    pub requirements: Vec<String>,
    /// The interpreter that makes it, an absolute path.
    pub python: PathBuf,
}

/// A secret that is made once, kept in a file of mode 0600, and never made again while that file is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedSecret {
    /// The file that keeps it.
    pub path: PathBuf,
}

/// A rendered file. Its first line is a marker that says whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Its path.
    pub path: PathBuf,
    /// Its content after the marker.
    pub content: Content,
}

/// A model on a server that is asked for it, as Ollama is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedModel {
    /// The server's address without a path.
    pub endpoint: String,
    /// The name under which requests ask for it: that of its source, or one of llamero's own.
    pub name: OllamaName,
    /// The name that is pulled.
    pub source: OllamaName,
    /// True if its registry is asked over plain HTTP.
    pub insecure: bool,
    /// The sha256 of the manifest that the source must have: what Ollama says as a model's digest.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// The space that must stay free on the disk of the server's models, where that is this machine's.
    #[serde(default)]
    pub keep_free: Bytes,
    /// Parameters that are other than published, such as `num_ctx`.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Another prompt template.
    pub template: Option<String>,
    /// Another system prompt.
    pub system: Option<String>,
    /// True if it is to stay loaded.
    pub pinned: bool,
    /// True if it turns texts into vectors.
    pub embedding: bool,
    /// The file by which the server's folder of models shows that the source is there, where that can be looked at.
    pub manifest: Option<PathBuf>,
}

impl ServedModel {
    /// Returns whether it is a model of llamero's own, made from its source.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.name != self.source
    }

    /// Returns the server's folder of models, where that can be looked at.
    #[must_use]
    pub fn store(&self) -> Option<&Path> {
        // `<store>/manifests/<host>/<namespace>/<model>/<tag>`
        self.manifest.as_deref()?.ancestors().nth(5)
    }

    /// Returns the resource that keeps one content of the source, so that a rollback needs no network, and the name
    /// that it has on the server.
    #[must_use]
    pub fn kept(&self, stack: &str, sha256: &Digest) -> (ResourceId, String) {
        let (model, content) = (self.source.model().to_ascii_lowercase(), sha256.short());
        // Each server has a copy of its own.
        let server = Digest::of(&self.endpoint);
        let id = ResourceId::new(Kind::Model, format!("kept-{model}-{content}-{}", &server.as_str()[..6]));
        (id, format!("llamero-{stack}/{model}:kept-{content}"))
    }
}

/// The specification of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spec {
    /// A secret that is made once.
    Secret(GeneratedSecret),
    /// A Python environment.
    Environment(Environment),
    /// A model file.
    Artifact(Artifact),
    /// A container image.
    Image(ImageSpec),
    /// A rendered file.
    File(FileSpec),
    /// A model on a server that is asked for it.
    Model(Box<ServedModel>),
    /// A server; the id's kind is that of its runtime.
    Run(Box<Run>),
}

/// One thing that exists or not, as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    pub id: ResourceId,
    /// The part of the manifest that it serves, such as `models.qwen3` or `gateway`.
    pub role: String,
    /// Its specification.
    pub spec: Spec,
    /// The resources that must exist, and be healthy if they run, before this is created or started.
    pub needs: BTreeSet<ResourceId>,
    /// The settings of the manifest that its fields come from; a server's command has its own.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
}

impl Resource {
    /// Returns a resource that needs nothing and whose fields come from no setting.
    #[must_use]
    pub fn new(id: ResourceId, role: impl Into<String>, spec: Spec) -> Self {
        Self { id, role: role.into(), spec, needs: BTreeSet::new(), origins: Origins::default() }
    }

    /// Returns the server, if it is one.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        if let Spec::Run(run) = &self.spec { Some(run) } else { None }
    }

    /// Returns the model on a server, if it is one.
    #[must_use]
    pub fn model(&self) -> Option<&ServedModel> {
        if let Spec::Model(model) = &self.spec { Some(model) } else { None }
    }

    /// Returns the fields that its fingerprint covers.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = self.spec.fields();
        for (name, origins) in &self.origins.0 {
            if let Some(field) = fields.get_mut(name) {
                field.origins.extend(origins.iter().cloned());
            }
        }
        fields
    }

    /// Returns the fingerprint of its fields.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.fields())
    }
}

impl Spec {
    fn fields(&self) -> Fields {
        let pairs = match self {
            Spec::Secret(_) => vec![],
            Spec::Environment(environment) => vec![
                ("python", environment.python.display().to_string()),
                ("requirements", environment.requirements.join(" ")),
            ],
            Spec::Artifact(artifact) => vec![
                ("source", artifact.origin.clone()),
                ("sha256", artifact.sha256.as_ref().map(ToString::to_string).unwrap_or_default()),
            ],
            Spec::Image(image) => vec![("name", image.name.to_string())],
            Spec::File(file) => {
                vec![("path", file.path.display().to_string()), ("content", file.content.digest().short().to_owned())]
            }
            Spec::Model(model) => return model_fields(model),
            Spec::Run(run) => return run.fields(),
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

fn model_fields(model: &ServedModel) -> Fields {
    let mut fields = Fields::from([("source".to_owned(), model.source.shortest().into())]);
    fields.extend(model.parameters.iter().map(|(name, value)| (name.clone(), value.to_string().into())));
    for (name, text) in [("template", &model.template), ("system", &model.system)] {
        if let Some(text) = text {
            fields.insert(name.to_owned(), Digest::of(text).short().into());
        }
    }
    fields
}
