//! What a container engine can do.

use super::super::target::Target;
use crate::resource::{Container, Kind, MountSource, Prerequisite, ResourceId, Run, Runtime};

/// The container engine.
#[derive(Debug)]
pub(in crate::targets) struct Docker;

impl Target for Docker {
    fn runtime(&self) -> Runtime {
        Runtime::Docker
    }

    fn kind(&self) -> Kind {
        Kind::Container
    }

    fn describe(&self, id: &ResourceId) -> String {
        format!("the container {}", id.name)
    }

    fn observes(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Container | Kind::Image)
    }

    fn resets_limits(&self) -> bool {
        true
    }

    fn listens_for_servers(&self) -> bool {
        true
    }

    fn previous(&self, id: &ResourceId) -> Option<ResourceId> {
        Some(ResourceId::new(id.kind, Container::previous(&id.name)))
    }

    fn prerequisites(&self, run: &Run) -> Vec<Prerequisite> {
        let Some(container) = &run.container else { return Vec::new() };
        // Those two are the engine's own.
        let network = container.network.iter().filter(|network| !matches!(network.as_str(), "host" | "bridge"));
        let network = network.map(|network| Prerequisite::Network(network.clone()));
        let mounts = container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume(name) => Some(Prerequisite::Volume(name.clone())),
            // What is only read must be there for a reason.
            MountSource::Path(path) => (!mount.read_only).then(|| Prerequisite::Folder(path.clone())),
        });
        network.chain(mounts).collect()
    }
}
