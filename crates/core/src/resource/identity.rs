//! Live identities: the names by which the machine and its servers know what a resource is.
//!
//! Two resources that share one would write, change and remove the same live thing, and each would take the other's
//! changes for its own. So no two resources of a stack may share one; what several parts of a manifest share is one
//! resource.

use super::container::Container;
use super::endpoint::Endpoint;
use super::id::Kind;
use super::image_name::ImageName;
use super::ollama_name::OllamaName;
use super::spec::{Resource, Spec};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// One name by which a resource exists on the machine or on a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveIdentity {
    /// A unit of the systemd user manager without its ending; its socket unit has the same name.
    Unit(String),
    /// The numbered units `NAME-7` of a server that hands its socket off.
    Instances(String),
    /// A container's name.
    Container(String),
    /// The record of a supervised process.
    Process(String),
    /// A file or folder, spelled in one way.
    Path(PathBuf),
    /// A port of the host.
    Port(u16),
    /// A container image.
    Image(ImageName),
    /// A model on a server.
    Model {
        /// The server's address, spelled in one way.
        endpoint: String,
        /// The name that requests ask for.
        name: OllamaName,
    },
    /// A model in a folder of models, which several servers may have in common.
    StoredModel {
        /// The folder.
        store: PathBuf,
        /// The name that it has there.
        name: OllamaName,
    },
}

impl LiveIdentity {
    /// Returns the identity of a path: `.`, `..` and doubled slashes are folded, and links are not followed.
    #[must_use]
    pub fn path(path: &Path) -> Self {
        let mut folded = PathBuf::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(folded.pop()),
                part => folded.push(part),
            }
        }
        Self::Path(folded)
    }

    /// Returns the remedy for two resources that share it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unit(_) | Self::Instances(_) => "give one of them another `unit`",
            Self::Container(_) => "give one of them another `container`",
            Self::Process(_) => "give one of them another name",
            Self::Path(_) => "give one of them another path, or leave one out",
            Self::Port(_) => "give one of them another `port`",
            Self::Image(_) => "write the image the same way for both",
            Self::Model { .. } => "declare both models under one provider",
            Self::StoredModel { .. } => "give one of the servers its own folder: `settings: {models: PATH}`",
        }
    }
}

impl fmt::Display for LiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(name) => write!(f, "the unit `{name}`"),
            Self::Instances(name) => write!(f, "one of the numbered units of `{name}`"),
            Self::Container(name) => write!(f, "the container `{name}`"),
            Self::Process(name) => write!(f, "the process `{name}`"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Port(port) => write!(f, "port {port}"),
            Self::Image(name) => write!(f, "the image `{name}`"),
            Self::Model { endpoint, name } => write!(f, "the model `{name}` on {endpoint}"),
            Self::StoredModel { store, name } => write!(f, "the model `{name}` in {}", store.display()),
        }
    }
}

impl Resource {
    /// Returns every name by which it exists.
    #[must_use]
    pub fn identities(&self) -> Vec<LiveIdentity> {
        match &self.spec {
            Spec::Secret(secret) => vec![LiveIdentity::path(&secret.path)],
            Spec::Environment(environment) => vec![LiveIdentity::path(&environment.path)],
            Spec::Artifact(artifact) => vec![LiveIdentity::path(&artifact.path)],
            Spec::Image(image) => vec![LiveIdentity::Image(image.name.clone())],
            Spec::File(file) => vec![LiveIdentity::path(&file.path)],
            Spec::Model(model) => {
                let name = &model.name;
                let endpoint = Endpoint::parse(&model.endpoint);
                let endpoint = endpoint.map_or_else(|_| model.endpoint.clone(), |endpoint| endpoint.identity());
                let served = LiveIdentity::Model { endpoint, name: name.clone() };
                let stored = model
                    .store()
                    .map(|store| LiveIdentity::StoredModel { store: store.to_owned(), name: name.clone() });
                std::iter::once(served).chain(stored).collect()
            }
            Spec::Run(run) => {
                let name = self.id.name.clone();
                let mut identities = match self.id.kind {
                    Kind::Container => {
                        // The name that it has while another takes its place.
                        let previous = Container::previous(&name);
                        vec![LiveIdentity::Container(name), LiveIdentity::Container(previous)]
                    }
                    Kind::Process => vec![LiveIdentity::Process(name)],
                    _ if run.socket_handoff => vec![LiveIdentity::Unit(name.clone()), LiveIdentity::Instances(name)],
                    _ => vec![LiveIdentity::Unit(name)],
                };
                let published = run.container.iter().flat_map(|container| &container.publish).map(|port| port.host);
                let ports: std::collections::BTreeSet<u16> = run.ports.iter().copied().chain(published).collect();
                identities.extend(ports.into_iter().map(LiveIdentity::Port));
                identities
            }
        }
    }
}

/// Two resources that are one live thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared<'a> {
    /// The name that they share.
    pub identity: LiveIdentity,
    /// The one resource.
    pub one: &'a Resource,
    /// The other.
    pub other: &'a Resource,
}

/// Returns every two resources that share a live identity, each pair once.
pub fn shared<'a>(
    resources: impl Iterator<Item = &'a Resource>,
    more: impl Fn(&Resource) -> Vec<LiveIdentity>,
) -> Vec<Shared<'a>> {
    let mut owners: BTreeMap<LiveIdentity, &Resource> = BTreeMap::new();
    let mut all: Vec<Shared<'a>> = Vec::new();
    let mut add = |identity, one: &'a Resource, other: &'a Resource| {
        if !all.iter().any(|known| (&known.one.id, &known.other.id) == (&one.id, &other.id)) {
            all.push(Shared { identity, one, other });
        }
    };
    for resource in resources {
        for identity in resource.identities().into_iter().chain(more(resource)) {
            match owners.get(&identity) {
                Some(owner) if owner.id != resource.id => add(identity, owner, resource),
                _ => drop(owners.insert(identity, resource)),
            }
        }
    }
    for (identity, resource) in &owners {
        let LiveIdentity::Unit(name) = identity else { continue };
        let Some((stem, number)) = name.rsplit_once('-') else { continue };
        let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        let instances = LiveIdentity::Instances(stem.to_owned());
        if let Some(owner) = owners.get(&instances).filter(|_| numbered) {
            add(instances, owner, resource);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::LiveIdentity;
    use std::path::Path;

    #[test]
    fn a_path_has_one_identity_however_it_is_spelled() {
        let path = |text: &str| LiveIdentity::path(Path::new(text));
        for text in ["/home/u/x/", "/home//u/./x", "/home/u/y/../x", "/../home/u/x"] {
            assert_eq!(path(text), path("/home/u/x"), "{text}");
        }
        assert_ne!(path("/home/u/x"), path("/home/u/X"));
    }
}
