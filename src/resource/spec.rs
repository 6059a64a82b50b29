//! What each kind of resource is asked to be.

use super::fingerprint::{Digest, Fields, Fingerprint};
use super::id::ResourceId;
use super::run::Run;
use super::secret::{Content, SecretReference};
use super::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Where a model file comes from.
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
    /// Where it is, or is to be.
    pub path: PathBuf,
    /// Where it comes from.
    pub source: ArtifactSource,
    /// What it must be.
    pub sha256: Option<Digest>,
    /// What must stay free on its disk.
    pub keep_free: Bytes,
    /// How the manifest names the source, for people.
    pub origin: String,
}

/// An isolated Python environment. Its path is named by its requirements: it is made whole or not at all, and never
/// changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The folder.
    pub path: PathBuf,
    /// What is installed, as `pip` understands it.
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
    /// Where it is.
    pub path: PathBuf,
    /// What it holds after the marker.
    pub content: Content,
}

/// What a resource is asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spec {
    /// A secret that is made once.
    Secret(GeneratedSecret),
    /// A Python environment.
    Environment(Environment),
    /// A model file.
    Artifact(Artifact),
    /// A rendered file.
    File(FileSpec),
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
    /// What it is to be.
    pub spec: Spec,
    /// What must be there, and healthy if it runs, before this can be made or started.
    pub needs: BTreeSet<ResourceId>,
}

impl Resource {
    /// Returns the server, if it is one.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        if let Spec::Run(run) = &self.spec { Some(run) } else { None }
    }

    /// Returns the fields that its fingerprint covers.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let pairs = match &self.spec {
            Spec::Secret(_) => vec![],
            Spec::Environment(environment) => vec![
                ("python", environment.python.display().to_string()),
                ("requirements", environment.requirements.join(" ")),
            ],
            Spec::Artifact(artifact) => vec![
                ("source", artifact.origin.clone()),
                ("sha256", artifact.sha256.as_ref().map(ToString::to_string).unwrap_or_default()),
            ],
            Spec::File(file) => {
                vec![("path", file.path.display().to_string()), ("content", file.content.digest().short().to_owned())]
            }
            Spec::Run(run) => return run.fields(),
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Returns the fingerprint of its fields.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.fields())
    }
}
