//! Anything else that belongs to the stack: a command or an image of the user's own.

use super::build::Builder;
use super::server::{Contained, Declaration, Server, is_isolated};
use crate::manifest::{Entry, Network, RuntimeName, Service};
use crate::resource::{Accepts, HttpCheck, HttpProbe, ManifestPath, Note, Origin, Origins, Probe, Publish, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// Adds a service; `parts` says which servers each part of the stack is.
pub(super) fn add(
    builder: &mut Builder<'_>,
    service: &Entry<Service>,
    parts: &BTreeMap<String, BTreeSet<ResourceId>>,
) -> Option<ResourceId> {
    let name = &service.name.value;
    let publish: Vec<Publish> = service.value.ports.iter().map(|port| port.0.clone()).collect();
    let ports: Vec<u16> = publish.iter().map(|port| port.host).collect();
    let isolated = is_isolated(service.value.common(), Network::Bridge);
    check_ports(builder, service, isolated);
    let after = service.value.after.iter().filter_map(|part| parts.get(&part.value)).flatten().cloned().collect();
    let folder = service.value.working_directory.as_ref().map(|path| builder.facts.directories.expand(path));
    let path = ManifestPath::from(format!("services.{name}"));
    let declaration = Declaration {
        part: name.clone(),
        role: format!("services.{name}"),
        path: path.clone(),
        span: service.name.span.clone(),
        common: service.value.common(),
    };
    let probe = probe(&service.value, ports.first().copied());
    builder.server(&Server {
        ports,
        needs: after,
        origins: origins(&service.value, &path, isolated),
        working_directory: folder,
        contained: Contained { network: Network::Bridge, publish, ..Contained::default() },
        ..Server::declared(declaration, name.clone(), probe)
    })
}

/// Notes a port that is another one in the container, where that has no network of its own.
fn check_ports(builder: &mut Builder<'_>, service: &Entry<Service>, isolated: bool) {
    let in_container = service.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    if let Some(port) = service.value.ports.iter().find(|port| !isolated && port.is_moved()) {
        let message =
            format!("port {} would be {} inside, which needs a network of its own", port.0.host, port.0.container);
        let hint = if in_container { "write `network: bridge`, or one number" } else { "write one number" };
        builder.note(
            Note::error("port", message).hint(hint),
            format!("services.{}.ports", service.name.value),
            &port.span,
        );
    }
}

/// Returns the question by which a service shows that it is healthy, at its first port.
fn probe(service: &Service, port: Option<u16>) -> Probe {
    match (&service.health.path, port) {
        (Some(path), Some(port)) => Probe::Http(HttpProbe {
            endpoint: format!("http://127.0.0.1:{port}"),
            checks: vec![HttpCheck { accepts: Accepts::NoError, ..HttpCheck::of(path.value.to_string()) }],
            models: None,
            authorization: None,
        }),
        _ => Probe::Running,
    }
}

/// Returns the settings that the fields of a service come from.
fn origins(service: &Service, path: &ManifestPath, isolated: bool) -> Origins {
    let mut origins = Origins::default();
    let declared =
        service.working_directory.as_ref().map(|folder| Origin::new(path.key("working_directory"), &folder.value));
    origins.add("working directory", declared);
    if isolated {
        for port in &service.ports {
            let field = format!("publish {}/{}", port.0.container, port.0.protocol);
            origins.add(field, [Origin::new(path.key("ports"), &port.value)]);
        }
    }
    origins
}
