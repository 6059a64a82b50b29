//! One observation of a whole stack.

use super::health::ask_all;
use super::offers::{self, Offer};
use super::{externals, model, plain, ports, servers, settings};
use crate::live::{Live, LiveRun, Observation, Presence};
use crate::resolve::Desired;
use crate::resource::{Resource, ResourceId, Spec};
use crate::systems::{Systems, python, sleep};
use crate::targets::{self, Findings, Scope};
use futures_util::future::join_all;
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
    let mut with_instances = BTreeSet::new();
    for (driver, findings) in targets {
        let Findings { resources, with_instances: servers, unseen, prerequisites, networks, ends_at_logout } = findings;
        observed.resources.extend(resources);
        with_instances.extend(servers);
        observed.unseen.extend(unseen);
        observed.prerequisites.extend(prerequisites);
        observed.networks.extend(networks.into_iter().map(|name| (name, driver.kind())));
        if ends_at_logout == Some(true) {
            observed.end_at_logout.insert(driver.kind());
        }
    }
    let hands_off = |resource: &&&Resource| resource.run().is_some_and(|run| run.socket_handoff);
    with_instances.extend(known.values().filter(hands_off).map(|resource| resource.id.clone()));
    inspect_instances(Scope { systems, stack: &desired.stack }, with_instances, &mut observed).await;
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

/// Inspects the instances of servers that are to hand their socket off, or do so, or that instances are left of.
async fn inspect_instances(scope: Scope<'_>, mut with_instances: BTreeSet<ResourceId>, observed: &mut Observation) {
    let hands_off = |id: &&ResourceId| observed.run(id).is_some_and(|live| live.socket_handoff);
    with_instances.extend(observed.resources.keys().filter(hands_off).cloned());
    for driver in targets::drivers() {
        let own = with_instances.iter().filter(|id| id.kind == driver.kind()).collect();
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
