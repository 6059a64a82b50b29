//! Anything else that belongs to the stack: a command of the user's own.

use super::super::build::{Builder, Server};
use crate::manifest::{Entry, Service};
use crate::resource::{Probe, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// Adds a service; `parts` says which servers each part of the stack is.
pub(in super::super) fn add(
    builder: &mut Builder<'_>,
    service: &Entry<Service>,
    parts: &BTreeMap<String, BTreeSet<ResourceId>>,
) -> Option<ResourceId> {
    let name = &service.name.value;
    let ports: Vec<u16> = service
        .value
        .ports
        .iter()
        .filter_map(|port| port.value.split(':').rev().nth(1).unwrap_or(&port.value).parse().ok())
        .collect();
    let probe = match (&service.value.health.path, ports.first()) {
        (Some(path), Some(port)) => Probe::Http { url: format!("http://127.0.0.1:{port}{}", path.value) },
        _ => Probe::Running,
    };
    let after = service.value.after.iter().filter_map(|part| parts.get(&part.value)).flatten().cloned().collect();
    let folder = service.value.working_directory.as_ref().map(|path| builder.facts.places.expand(path));
    builder.server(&Server {
        part: name.clone(),
        role: format!("services.{name}"),
        span: service.name.span.clone(),
        description: format!("{name} (llamero, stack {})", builder.manifest.stack.value),
        common: service.value.common(),
        program: None,
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        ports,
        probe,
        inputs: Vec::new(),
        needs: after,
        last: Vec::new(),
        working_directory: folder,
    })
}
