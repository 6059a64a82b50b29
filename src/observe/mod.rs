//! Looks at everything at once and brings back plain values. Never fails: what cannot be seen is unknown.
//!
//! Changes nothing, anywhere. What a finding means is not decided here.

mod facts;
mod model;
mod pins;
mod rendered;
mod servers;

pub use facts::{directories, facts};
pub use model::contents;
pub use pins::{Error as PinError, Upstream, pin, upstream};
pub use rendered::{RenderedChange, rendered_change};
pub use servers::inspect;

use crate::live::{Live, LiveFile, LiveRun, Managed, Observation, Ownership, PortHolder, Presence};
use crate::render::marker;
use crate::resolve::Desired;
use crate::resource::{
    Artifact, ArtifactSource, Bytes, Digest, FileSpec, Health, Resource, ResourceId, Run, ServedModel, Spec,
};
use crate::systems::listener::{self, Foreign, Sockets, Unproven};
use crate::systems::python::{self, EnvironmentState};
use crate::systems::secrets::{self, Secret};
use crate::systems::{Systems, artifacts, files, health, ollama, ports, proc, sleep};
use crate::targets::{self, Scope};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The largest rendered file that is read, in bytes.
const LIMIT: Bytes = Bytes(4 << 20);

/// The longest wait for a server to report a download's size.
const SIZE: Duration = Duration::from_secs(3);

/// The longest wait for a process that is about to end.
const ENDING: Duration = Duration::from_secs(1);

/// The depth of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Resources and processes.
    State,
    /// Health as well.
    Health,
}

/// Observes every declared resource, every resource that earlier generations may have created (`inventory`), and all
/// others with this stack's ownership marker.
pub async fn observe(systems: &Systems, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation {
    let mut observed = Observation::default();
    let known: BTreeMap<&ResourceId, &Resource> = inventory
        .iter()
        .map(|resource| (&resource.id, resource))
        // The desired state comes last: it overrides the inventory's paths.
        .chain(desired.resources.iter())
        .collect();
    for resource in known.values() {
        if let Some(presence) = plain(systems, resource) {
            observed.resources.insert(resource.id.clone(), presence);
        }
    }
    observed.resources.extend(model::inspect_models(systems, &desired.stack, known.values().copied()).await);
    let scope = Scope { systems, stack: &desired.stack };
    let others = targets::drivers().map(|driver| driver.inspect_others(scope, known.values().copied().collect()));
    observed.resources.extend(join_all(others).await.into_iter().flatten());
    let running = known.keys().filter(|id| id.kind.runs()).map(|id| (*id).clone()).collect();
    let servers = servers::list(systems, &desired.stack, running).await;
    observed.resources.extend(servers::inspect_all(systems, &desired.stack, &servers).await);
    for driver in targets::drivers() {
        let kind = driver.kind();
        let Some(target) = targets::of_kind(kind).filter(|_| servers.iter().any(|id| id.kind == kind)) else {
            continue;
        };
        let own = desired.runs().filter(|(resource, _)| resource.id.kind == kind);
        let needed = own.flat_map(|(_, run)| target.prerequisites(run)).collect();
        let (there, networks) = driver.prerequisites(scope, needed).await;
        observed.prerequisites.extend(there);
        observed.networks.extend(networks.into_iter().map(|name| (name, kind)));
    }
    note_sleepers(systems, &known, &mut observed).await;
    observed.ports = port_holders(desired, &known, &observed).await;
    for (id, offer) in offers(systems, desired, &observed).await {
        match offer {
            Offer::Size(size) => drop(observed.download_sizes.insert(id, size)),
            Offer::Moved(content) => drop(observed.moved.insert(id, content)),
        }
    }
    if depth == Depth::Health {
        ask_all(systems, desired, &mut observed).await;
    }
    observed
}

/// Takes note of servers that run and sleep.
async fn note_sleepers(systems: &Systems, known: &BTreeMap<&ResourceId, &Resource>, observed: &mut Observation) {
    let questions = known.values().filter_map(|resource| {
        let calls = resource.run()?.sleep.as_ref()?;
        observed.run(&resource.id).filter(|live| live.is_up())?;
        Some(async move { (resource.id.clone(), sleep::is_asleep(&systems.client, calls).await) })
    });
    for (id, asleep) in join_all(questions).await {
        if let Some(Presence::Present(Live::Run(run))) = observed.resources.get_mut(&id) {
            run.asleep = asleep == Some(true);
        }
    }
}

/// Looks at what does not run.
fn plain(systems: &Systems, resource: &Resource) -> Option<Presence> {
    Some(match &resource.spec {
        Spec::Secret(secret) => match files::stamp(&secret.path) {
            Ok(Some(_)) => Presence::Present(Live::Secret),
            Ok(None) => Presence::Absent,
            Err(error) => Presence::Unknown(error.to_string()),
        },
        Spec::Environment(environment) => match python::state(&environment.path) {
            Ok(EnvironmentState::Absent) => Presence::Absent,
            Ok(state) => Presence::Present(Live::Environment { complete: state == EnvironmentState::Complete }),
            Err(error) => Presence::Unknown(error.to_string()),
        },
        Spec::Artifact(artifact) => live_artifact(systems, artifact),
        Spec::File(file) => live_file(&resource.id, file),
        Spec::Run(_) | Spec::Model(_) | Spec::Image(_) => return None,
    })
}

fn live_artifact(systems: &Systems, artifact: &Artifact) -> Presence {
    match artifacts::find(&systems.records, &artifact.path) {
        Ok(None) => Presence::Absent,
        Ok(Some((size, known))) => {
            // Only llamero writes to the paths of fetched artifacts.
            let managed = artifact.source != ArtifactSource::File;
            Presence::Present(Live::Artifact { size: size.0, sha256: known.map(|known| known.sha256), managed })
        }
        Err(error) => Presence::Unknown(error.to_string()),
    }
}

fn live_file(id: &ResourceId, file: &FileSpec) -> Presence {
    match files::read_text(&file.path, LIMIT) {
        Ok(None) => Presence::Absent,
        Ok(Some(text)) => {
            // A file with another resource's marker belongs to that resource, whatever its path.
            let marker = marker::read(&text).filter(|marker| marker.resource == *id).map(claim);
            let body = text.split_once('\n').map(|(_, body)| body.to_owned()).filter(|_| marker.is_some());
            let text = if file.content.is_secret() { None } else { Some(body.unwrap_or(text)) };
            Presence::Present(Live::File(LiveFile { marker, text }))
        }
        Err(error) => Presence::Unknown(error.to_string()),
    }
}

fn claim(marker: marker::Marker) -> Ownership {
    Ownership { stack: marker.stack, fingerprint: marker.fingerprint, intact: marker.intact }
}

/// Finds the processes that listen on the stack's ports, unless all its servers are up and healthy.
async fn port_holders(
    desired: &Desired,
    known: &BTreeMap<&ResourceId, &Resource>,
    observed: &Observation,
) -> BTreeMap<u16, PortHolder> {
    let as_wanted = |resource: &Resource| {
        let live = observed.run(&resource.id);
        live.is_some_and(|live| live.is_up() && live.running == Some(resource.fingerprint()))
    };
    if desired.runs().all(|(resource, _)| as_wanted(resource)) {
        return BTreeMap::new();
    }
    let declared: BTreeSet<u16> = desired.runs().flat_map(|(_, run)| run.ports.iter().copied()).collect();
    let managed = |id: &ResourceId| {
        observed.resources.get(id).and_then(|presence| Managed::prove(&desired.stack, id, presence)).is_some()
    };
    let owner = |pid: u32| -> Option<ResourceId> {
        let marked = proc::variable(pid, proc::RESOURCE).filter(|_| proc::is_of_this_user(pid));
        let marked = marked.and_then(|text| text.strip_prefix(&desired.stack)?.strip_prefix('/')?.parse().ok());
        // A process that wrote over its environment is known by what runs it, or by its number.
        let owned = || targets::drivers().find_map(|driver| driver.owner_of(pid)).filter(|id| managed(id));
        let numbered = |live: &LiveRun| live.identity.as_ref().is_some_and(|id| id.starts_with(&format!("{pid}:")));
        let process = || observed.resources.keys().find(|id| observed.run(id).is_some_and(numbered)).cloned();
        marked.or_else(owned).or_else(process)
    };
    // On a container's port the engine or its child listens, and on a handed-off one the manager.
    let on_behalf = |port: u16| {
        let listens = |id: &ResourceId| {
            let live = observed.run(id).filter(|_| managed(id));
            let on_behalf = targets::of_kind(id.kind).is_some_and(targets::Target::listens_for_servers);
            live.is_some_and(|live| live.socket_handoff || on_behalf && live.is_up())
        };
        let mut listening = known.values().filter(|resource| listens(&resource.id));
        listening.find(|resource| resource.run().is_some_and(|run| run.ports.contains(&port))).map(|it| it.id.clone())
    };
    let begun = Instant::now();
    let mut holders = ports::holders(&declared);
    while holders.values().any(ports::Holder::is_ending) && begun.elapsed() < ENDING {
        tokio::time::sleep(ENDING / 20).await;
        holders = ports::holders(&declared);
    }
    holders
        .into_iter()
        .map(|(port, holder)| {
            let resource = holder.pid.and_then(owner).or_else(|| on_behalf(port));
            let command = holder.command.unwrap_or_else(|| format!("a process of the user {}", holder.user));
            (port, PortHolder { pid: holder.pid, command: command.chars().take(80).collect(), resource })
        })
        .collect()
}

/// The remote version of a pending download.
enum Offer {
    /// The declared content, with its size in bytes.
    Size(u64),
    /// Another content.
    Moved(Digest),
}

/// Asks for whatever would be downloaded what there is of it now.
async fn offers(systems: &Systems, desired: &Desired, observed: &Observation) -> Vec<(ResourceId, Offer)> {
    let questions = desired.resources.values().map(|resource| async move {
        let presence = observed.resources.get(&resource.id);
        let offer = match &resource.spec {
            Spec::Artifact(artifact) if presence == Some(&Presence::Absent) => {
                let ArtifactSource::Url { url, token } = &artifact.source else { return None };
                let token = token.as_ref().and_then(|token| secrets::resolve(token).ok());
                Offer::Size(systems.client.size(url, token.as_ref().map(Secret::reveal), SIZE).await?)
            }
            Spec::Model(model) if is_to_be_pulled(model, presence) => {
                if is_kept(&desired.stack, model, observed) {
                    return Some((resource.id.clone(), Offer::Size(0)));
                }
                let remote = ollama::manifest(&systems.client, &model.source, model.insecure, SIZE).await.ok()?;
                if model.sha256.as_ref().is_some_and(|declared| *declared != remote.digest) {
                    Offer::Moved(remote.digest)
                } else {
                    Offer::Size(ollama::missing(model.store(), &remote).0)
                }
            }
            _ => return None,
        };
        Some((resource.id.clone(), offer))
    });
    join_all(questions).await.into_iter().flatten().collect()
}

/// Returns whether a model's declared content is present under another name on its server.
fn is_kept(stack: &str, model: &ServedModel, observed: &Observation) -> bool {
    let kept = model.sha256.as_ref().map(|declared| model.kept(stack, declared).0);
    kept.is_some_and(|id| matches!(observed.resources.get(&id), Some(Presence::Present(_))))
}

fn is_to_be_pulled(model: &ServedModel, presence: Option<&Presence>) -> bool {
    match presence {
        Some(Presence::Absent) => true,
        Some(Presence::Present(Live::Model { sha256, kept, .. })) => {
            !kept && model.sha256.is_some() && sha256.is_some() && *sha256 != model.sha256
        }
        _ => false,
    }
}

/// Returns the health of a running server: a problem reported by its runtime, or the result of its probe. A foreign
/// listener on its port is an error, and gets no request.
pub async fn health_of(
    systems: &Systems,
    sockets: &Sockets,
    stack: &str,
    (id, run): (&ResourceId, &Run),
    live: &LiveRun,
) -> Result<Health, Foreign> {
    match &live.reported {
        Some(reported) => return Ok(reported.clone()),
        None if live.asleep => return Ok(Health::unhealthy("it sleeps")),
        None => {}
    }
    let proven = match listener::prove(systems, sockets, stack, id, &run.probe).await {
        Ok(proven) => proven,
        Err(Unproven::Foreign(foreign)) => return Err(foreign),
        Err(unproven) => return Ok(unproven.health(&run.probe)),
    };
    let token = run.probe.authorization().map(|authorization| secrets::resolve(&authorization.0)).transpose();
    Ok(match token {
        Ok(token) => health::ask(&systems.client, proven, token.as_ref().map(Secret::reveal)).await,
        Err(error) => Health::unhealthy(error.to_string()),
    })
}

async fn ask_all(systems: &Systems, desired: &Desired, observed: &mut Observation) {
    let up = desired.runs().filter_map(|(resource, run)| {
        let live = observed.run(&resource.id).filter(|live| live.is_up())?;
        Some((&resource.id, run, live))
    });
    let sockets = Sockets::look();
    let questions = up.map(|(id, run, live)| {
        let asked = health_of(systems, &sockets, &desired.stack, (id, run), live);
        async move { (id.clone(), asked.await.unwrap_or_else(|foreign| Health::unhealthy(foreign.to_string()))) }
    });
    for (id, health) in join_all(questions).await {
        if let Some(Presence::Present(Live::Run(run))) = observed.resources.get_mut(&id) {
            run.health = Some(health);
        }
    }
}
