//! The manifest, with the facts of the machine, to every resource.

use super::build::Builder;
use super::canary::canary;
use super::desired::{Desired, Drift, Policy};
use super::externals::externals;
use super::facts::Facts;
use super::server::is_isolated;
use super::{cache, gateway, providers, service};
use crate::engines::Route;
use crate::lockfile::LockFile;
use crate::manifest::{DriftPolicy, Manifest, Network, Rollback, Rollout, RuntimeName};
use crate::resource::{Bytes, Kind, Note, ResourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Host memory that is left to the rest of the machine when the manifest says nothing.
const LEFT: u64 = 2 << 30;

/// Returns the stack that a manifest, held to its lock, means on a machine, and what stands in the way. A note carries
/// the path and the bytes of the manifest that it is about.
#[must_use]
pub fn resolve(manifest: &Manifest, lock: &LockFile, facts: &Facts) -> (Desired, Vec<(Note, String, Range<usize>)>) {
    let mut builder = Builder::new(manifest, lock, facts);
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for provider in &manifest.providers {
        for route in providers::add(&mut builder, provider) {
            routes.insert(route.model.clone(), route);
        }
    }
    builder.check_gpus();
    // Clients see models in the order of the manifest.
    let order: Vec<Route> = manifest.models.iter().filter_map(|model| routes.remove(&model.name.value)).collect();
    let cache = manifest.cache.as_ref().and_then(|cache| {
        let runtime = cache.runtime.as_ref().map(|runtime| runtime.value);
        if runtime == Some(RuntimeName::External) { None } else { cache::add(&mut builder, cache) }
    });
    let gateway = manifest.gateway.as_ref().and_then(|gateway| {
        if is_isolated(gateway.common(), Network::Host) {
            let note =
                Note::error("not-reachable", "the gateway must reach servers that listen on the host's loopback");
            builder.note(note.hint("leave `network` out, or write `network: host`"), "gateway.network", &gateway.span);
        }
        gateway::add(&mut builder, gateway, order, cache.as_ref())
    });
    let (gateway, routing) = gateway.unzip();
    services(&mut builder, cache, gateway);
    builder.check_identities();
    builder.check_definitions();
    builder.check_names();
    let mut desired = Desired {
        stack: manifest.stack.value.clone(),
        resources: builder.resources,
        unknown: builder.unknown,
        routing,
        externals: externals(manifest, &facts.directories),
        memory: manifest
            .machine
            .memory
            .as_ref()
            .map(|memory| memory.value.0)
            .or_else(|| facts.memory.map(|total| Bytes(total.0.saturating_sub(LEFT)))),
        canary: manifest
            .policy
            .canary
            .as_ref()
            .filter(|_| manifest.policy.rollout == Rollout::Canary)
            .and_then(|model| canary(manifest, model)),
        policy: Policy {
            drift: match manifest.policy.drift {
                DriftPolicy::Correct => Drift::Correct,
                DriftPolicy::Warn => Drift::Warn,
            },
            prune: manifest.policy.prune.unwrap_or(true),
            rollback: manifest.policy.rollback == Rollback::Auto,
        },
    };
    desired.renew_inputs();
    desired.trace_inputs();
    (desired, builder.notes)
}

fn services(builder: &mut Builder<'_>, cache: Option<ResourceId>, gateway: Option<ResourceId>) {
    let manifest = builder.manifest;
    let mut parts: BTreeMap<String, BTreeSet<ResourceId>> = BTreeMap::new();
    parts.insert("cache".to_owned(), cache.into_iter().collect());
    parts.insert("gateway".to_owned(), gateway.into_iter().collect());
    for provider in &manifest.providers {
        let mut roles = manifest
            .models
            .iter()
            .filter(|model| model.value.provider.value == provider.name.value)
            .map(|model| format!("models.{}", model.name.value));
        let ids = roles.by_ref().flat_map(|role| {
            let servers = builder.resources.values().filter(move |resource| resource.role == role);
            servers.filter(|resource| resource.id.kind.runs()).map(|resource| resource.id.clone())
        });
        parts.insert(provider.name.value.clone(), ids.collect());
    }
    for service in &manifest.services {
        if let Some(id) = builder.server_id(&service.name.value, service.value.common()) {
            parts.insert(service.name.value.clone(), BTreeSet::from([id]));
        }
    }
    for entry in &manifest.services {
        service::add(builder, entry, &parts);
    }
    debug_assert!(builder.resources.keys().all(|id| id.kind != Kind::Unit || !id.name.is_empty()));
}
