//! Inspects the machine and returns plain values. Never fails: what cannot be inspected is unknown, with the reason.
//!
//! Every system is asked beside the others and has a deadline of its own: a hung Ollama delays no container engine.
//! Changes nothing, and decides nothing.

mod deadline;
mod derived;
mod externals;
mod facts;
mod model;
mod offers;
mod pins;
mod plain;
mod ports;
mod rendered;
mod servers;
mod settings;

pub use facts::{directories, facts};
pub use model::contents;
pub use pins::{Error as PinError, Upstream, pin, upstream};
pub use rendered::{RenderedChange, rendered_change};
pub use servers::inspect;

use crate::live::{Live, LiveRun, Observation, Presence};
use crate::resolve::Desired;
use crate::resource::{Health, Resource, ResourceId, Run, Spec};
use crate::systems::listener::{self, Foreign, Sockets, Unproven};
use crate::systems::secrets::{self, Secret};
use crate::systems::{Systems, health, python, sleep};
use crate::targets::{self, Findings, Scope};
use futures_util::future::join_all;
use offers::Offer;
use std::collections::{BTreeMap, BTreeSet};

/// The extent of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything that exists and runs.
    State,
    /// And the health of every server.
    Health,
}

/// Inspects everything that is desired, everything that earlier generations may have created (`inventory`), and
/// everything else that carries this stack's ownership marker.
pub async fn observe(systems: &Systems, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation {
    let known: BTreeMap<&ResourceId, &Resource> = inventory
        .iter()
        .map(|resource| (&resource.id, resource))
        // The desired state comes last: a resource that both know is looked for where it is declared.
        .chain(desired.resources.iter())
        .collect();
    let resources = || known.values().copied();
    let (targets, models, externals, plain) = tokio::join!(
        servers::observe_targets(systems, desired, &known),
        model::inspect_models(systems, &desired.stack, resources()),
        externals::ask(systems, desired),
        plain::inspect(systems.records.artifacts.clone(), resources()),
    );
    let mut observed = Observation { resources: plain, externals, ..Observation::default() };
    observed.resources.extend(models);
    for (driver, Findings { resources, unseen, prerequisites, networks, ends_at_logout }) in targets {
        observed.resources.extend(resources);
        observed.unseen.extend(unseen);
        observed.prerequisites.extend(prerequisites);
        observed.networks.extend(networks.into_iter().map(|name| (name, driver.kind())));
        if ends_at_logout == Some(true) {
            observed.end_at_logout.insert(driver.kind());
        }
    }
    inspect_instances(Scope { systems, stack: &desired.stack }, &known, &mut observed).await;
    let (asleep, settings, ports, offers) = tokio::join!(
        sleepers(systems, &known, &observed),
        settings::reported(systems, desired, &observed),
        ports::holders(desired, &known, &observed),
        offers::offers(systems, desired, &observed),
    );
    for id in asleep {
        on_run(&mut observed, &id, |run| run.asleep = true);
    }
    if desired.resources.values().any(|resource| matches!(resource.spec, Spec::Environment(_))) {
        observed.uv = python::uv();
    }
    for (id, values) in settings {
        on_run(&mut observed, &id, |run| run.effective.values.extend(values));
    }
    observed.ports = ports;
    for (id, offer) in offers {
        match offer {
            Offer::Size(size) => drop(observed.download_sizes.insert(id, size)),
            Offer::Moved(content) => drop(observed.moved.insert(id, content)),
        }
    }
    if depth == Depth::Health {
        for (id, health) in ask_all(systems, desired, &observed).await {
            on_run(&mut observed, &id, |run| run.health = Some(health));
        }
    }
    observed
}

/// Inspects the instances of servers that hand their socket off, or are to.
async fn inspect_instances(scope: Scope<'_>, known: &BTreeMap<&ResourceId, &Resource>, observed: &mut Observation) {
    let handing_off: BTreeSet<ResourceId> = known
        .values()
        .filter(|resource| resource.run().is_some_and(|run| run.socket_handoff))
        .map(|resource| &resource.id)
        .chain(observed.resources.keys().filter(|id| observed.run(id).is_some_and(|live| live.socket_handoff)))
        .cloned()
        .collect();
    for driver in targets::drivers() {
        let own = handing_off.iter().filter(|id| id.kind == driver.kind()).collect();
        for (id, instances) in driver.instances(scope, own).await {
            match instances {
                Ok(instances) => drop(observed.instances.insert(id, instances)),
                Err(unseen) => drop(observed.resources.insert(id, Presence::Unknown(unseen))),
            }
        }
    }
}

fn on_run(observed: &mut Observation, id: &ResourceId, change: impl FnOnce(&mut LiveRun)) {
    if let Some(Presence::Present(Live::Run(run))) = observed.resources.get_mut(id) {
        change(run);
    }
}

/// Returns the servers that run and sleep.
async fn sleepers(
    systems: &Systems,
    known: &BTreeMap<&ResourceId, &Resource>,
    observed: &Observation,
) -> Vec<ResourceId> {
    let questions = known.values().filter_map(|resource| {
        let calls = resource.run()?.sleep.as_ref()?;
        observed.run(&resource.id).filter(|live| live.is_up())?;
        Some(async move { (sleep::is_asleep(&systems.client, calls).await == Some(true)).then(|| resource.id.clone()) })
    });
    join_all(questions).await.into_iter().flatten().collect()
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

/// Returns the health of every declared server that is up.
async fn ask_all(systems: &Systems, desired: &Desired, observed: &Observation) -> Vec<(ResourceId, Health)> {
    let up = desired.runs().filter_map(|(resource, run)| {
        let live = observed.run(&resource.id).filter(|live| live.is_up())?;
        Some((&resource.id, run, live))
    });
    let sockets = Sockets::look();
    let questions = up.map(|(id, run, live)| {
        let asked = health_of(systems, &sockets, &desired.stack, (id, run), live);
        async move { (id.clone(), asked.await.unwrap_or_else(|foreign| Health::unhealthy(foreign.to_string()))) }
    });
    join_all(questions).await
}
