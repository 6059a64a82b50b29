//! Anything else that belongs to the stack: a command or an image of the user's own.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, is_isolated};
use crate::manifest::{Entry, Network, RuntimeName, Service};
use crate::resource::{Command, Gpus, ManifestPath, Note, Origin, Origins, Probe, Protocol, Publish, ResourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Adds a service; `parts` says which servers each part of the stack is.
pub(in super::super) fn add(
    builder: &mut Builder<'_>,
    service: &Entry<Service>,
    parts: &BTreeMap<String, BTreeSet<ResourceId>>,
) -> Option<ResourceId> {
    let name = &service.name.value;
    let publish: Vec<Publish> = service.value.ports.iter().filter_map(|port| publish_of(&port.value)).collect();
    let ports: Vec<u16> = publish.iter().map(|port| port.host).collect();
    let isolated = is_isolated(service.value.common(), Network::Bridge);
    let in_container = service.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    let moved = service.value.ports.iter().find(|port| {
        !isolated && publish_of(&port.value).is_some_and(|published| published.host != published.container)
    });
    if let Some(port) = moved {
        let message = format!("`{}` moves a port, which needs a network of its own", port.value);
        let hint = if in_container { "write `network: bridge`, or one number" } else { "write one number" };
        builder.note(Note::error("port", message).hint(hint), format!("services.{name}.ports"), &port.span);
    }
    let probe = match (&service.value.health.path, ports.first()) {
        (Some(path), Some(port)) => Probe::Http { url: format!("http://127.0.0.1:{port}{}", path.value) },
        _ => Probe::Running,
    };
    let after = service.value.after.iter().filter_map(|part| parts.get(&part.value)).flatten().cloned().collect();
    let folder = service.value.working_directory.as_ref().map(|path| builder.facts.directories.expand(path));
    let path = ManifestPath::from(format!("services.{name}"));
    let mut origins = Origins::default();
    let declared = service
        .value
        .working_directory
        .as_ref()
        .map(|folder| Origin::new(path.key("working_directory"), &folder.value));
    origins.add("working directory", declared);
    if isolated {
        for port in &service.value.ports {
            let field =
                publish_of(&port.value).map(|publish| format!("publish {}/{}", publish.container, publish.protocol));
            origins.add(field.unwrap_or_default(), [Origin::new(path.key("ports"), &port.value)]);
        }
    }
    builder.server(&Server {
        part: name.clone(),
        role: format!("services.{name}"),
        span: service.name.span.clone(),
        description: format!("{name} (llamero, stack {})", builder.manifest.stack.value),
        common: service.value.common(),
        program: None,
        path,
        arguments: Command::default(),
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports,
        probe,
        inputs: Vec::new(),
        needs: after,
        last: None,
        origins,
        working_directory: folder,
        gpus: Gpus::None,
        contained: Contained { network: Network::Bridge, publish, ..Contained::default() },
    })
}

/// Reads `[ADDRESS:]HOST:INSIDE`, or one port that is the same inside.
fn publish_of(text: &str) -> Option<Publish> {
    let mut parts = text.rsplitn(3, ':');
    let container = parts.next()?.parse().ok()?;
    let host = parts.next().map_or(Some(container), |port| port.parse().ok())?;
    let address = parts.next().map_or(Some(Ipv4Addr::LOCALHOST), |address| address.parse().ok())?;
    Some(Publish { address: address.into(), host, container, protocol: Protocol::Tcp })
}
