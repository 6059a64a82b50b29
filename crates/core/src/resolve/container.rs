//! A server's container: its image, what it sees of the host, and where it listens.

use super::build::Builder;
use super::server::{Server, is_isolated};
use crate::manifest::Network;
use crate::resource::{
    Container, ImageName, ImageSpec, Input, Kind, Mount, MountSource, Note, Origin, Origins, Publish, Resource,
    ResourceId, Spec, Volume, VolumeSource,
};
use std::collections::BTreeMap;

/// Returns the settings that the fields of a server's container come from.
pub(super) fn origins(server: &Server<'_>, container: &Container) -> Origins {
    let Server { path, common, .. } = server;
    let mut origins = Origins::default();
    origins.add("image", common.image.map(|image| Origin::new(path.key("image"), &image.value)));
    let command = common.command.map(|command| Origin::new(path.key("command"), command.value.0.join(" ")));
    origins.add("entrypoint", command);
    let volumes = common.volumes.iter().map(|volume| &volume.value).collect::<Vec<_>>();
    // The declared volumes come last.
    let declared = container.mounts.iter().rev().zip(volumes.iter().rev());
    for (mount, volume) in declared {
        origins.add(format!("mount {}", mount.target.display()), [Origin::new(path.key("volumes"), volume)]);
    }
    let network = common.network.map(|network| {
        let word = if network.value == Network::Bridge { "bridge" } else { "host" };
        Origin::new(path.key("network"), word)
    });
    origins.add("network", network);
    origins.add("shm size", common.shm_size.map(|size| Origin::new(path.key("shm_size"), size.value.0.exact())));
    origins.add("user", common.user.map(|user| Origin::new(path.key("user"), &user.value)));
    if common.read_only.value {
        origins.add("read-only", [Origin::new(path.key("read_only"), true)]);
    }
    origins
}

impl Builder<'_> {
    /// Adds a server's image, held to what is locked; returns its resource and its whole name.
    pub(super) fn image(&mut self, server: &Server<'_>) -> Option<(ResourceId, ImageName)> {
        let span = server.common.image.map_or(&server.span, |image| &image.span).clone();
        let path = server.path.key("image");
        let Some(image) = server.common.image else {
            let note = Note::error("missing-field", "`image` is missing").hint("`runtime: docker` runs an image");
            self.note(note, path.as_str(), &span);
            return None;
        };
        let name = image.value.name.clone();
        let pin = self.lock.pins.get(&format!("image:{name}")).filter(|_| name.digest().is_none());
        let pinned = pin.map_or_else(|| name.clone(), |pin| name.at(pin.sha256.clone()));
        let short = name.repository().rsplit('/').next().unwrap_or_default();
        let unique = crate::resource::Digest::of(pinned.to_string());
        let id = ResourceId::new(Kind::Image, format!("{}-{}", Self::plain(short), &unique.as_str()[..6]));
        let spec = Spec::Image(ImageSpec { name: pinned.clone() });
        let origins = Origins::of("name", [Origin::new(server.path.key("image"), &image.value)]);
        self.add(Resource { origins, ..Resource::new(id.clone(), &server.role, spec) }, &span);
        Some((id, pinned))
    }

    /// Returns a server's container, without what the common fields of a server say already.
    pub(super) fn contained(&mut self, server: &Server<'_>, image: &ImageName, inputs: &[Input]) -> Container {
        let common = server.common;
        let mut mounts: Vec<Mount> = inputs.iter().filter_map(|input| self.seen_inside(&input.resource)).collect();
        mounts.extend(server.contained.mounts.iter().cloned());
        mounts.extend(common.volumes.iter().map(|volume| self.mount(&volume.value)));
        let isolated = is_isolated(common, server.contained.network);
        let mut publish = server.contained.publish.clone();
        if isolated && publish.is_empty() {
            publish.extend(server.ports.iter().map(|port| Publish {
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                host: *port,
                container: *port,
                protocol: crate::resource::Protocol::Tcp,
            }));
        }
        Container {
            image: image.to_string(),
            entrypoint: common.command.map(|command| command.value.0.clone()),
            mounts,
            publish: if isolated { publish } else { Vec::new() },
            network: Some(if isolated { format!("llamero-{}", self.manifest.stack.value) } else { "host".to_owned() }),
            extra_hosts: BTreeMap::new(),
            ipc_host: server.contained.ipc_host,
            shm_size: common.shm_size.map(|size| size.value.0),
            user: common.user.map(|user| user.value.to_string()),
            read_only: common.read_only.value,
        }
    }

    /// Returns the mount by which a container sees what it reads when it starts, under the host's own path.
    fn seen_inside(&self, id: &ResourceId) -> Option<Mount> {
        let path = match &self.resources.get(id)?.spec {
            Spec::Artifact(artifact) => artifact.path.clone(),
            // Its secrets are brought in another way.
            Spec::File(file) if !file.content.is_secret() => file.path.clone(),
            _ => return None,
        };
        Some(Mount { source: MountSource::Path(path.clone()), target: path, read_only: true })
    }

    fn mount(&self, volume: &Volume) -> Mount {
        let source = match &volume.source {
            VolumeSource::Path(path) => MountSource::Path(self.facts.directories.expand(path)),
            VolumeSource::Name(name) => MountSource::Volume(name.clone()),
        };
        Mount { source, target: volume.target.clone(), read_only: volume.read_only }
    }
}
