//! Finds the processes that listen on the ports that a stack needs.

use crate::live::{LiveRun, Managed, Observation, PortHolder};
use crate::resolve::Desired;
use crate::resource::{Resource, ResourceId};
use crate::systems::{ports, proc};
use crate::targets;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for a process that is exiting.
const EXIT: Duration = Duration::from_secs(1);

/// The longest command displayed.
const SHOWN: usize = 80;

/// Returns the holders of the ports that the stack needs; nothing where every server is up as declared.
pub(super) async fn holders(
    desired: &Desired,
    known: &BTreeMap<&ResourceId, &Resource>,
    observed: &Observation,
) -> BTreeMap<u16, PortHolder> {
    let as_declared = |resource: &Resource| {
        let live = observed.run(&resource.id);
        live.is_some_and(|live| live.is_up() && live.running == Some(resource.fingerprint()))
    };
    if desired.runs().all(|(resource, _)| as_declared(resource)) {
        return BTreeMap::new();
    }
    let declared: BTreeSet<u16> = desired.runs().flat_map(|(_, run)| run.ports.iter().copied()).collect();
    let managed = |id: &ResourceId| {
        observed.resources.get(id).and_then(|presence| Managed::prove(&desired.stack, id, presence)).is_some()
    };
    let owner = |pid: u32| -> Option<ResourceId> {
        let marked = proc::variable(pid, proc::RESOURCE).filter(|_| proc::is_of_this_user(pid));
        let marked = marked.and_then(|text| text.strip_prefix(&desired.stack)?.strip_prefix('/')?.parse().ok());
        // A process that overwrote its environment is identified by its runtime, or by its PID.
        let owned = || targets::drivers().find_map(|driver| driver.owner_of(pid)).filter(|id| managed(id));
        let numbered = |live: &LiveRun| live.identity.as_ref().is_some_and(|id| id.starts_with(&format!("{pid}:")));
        let process = || observed.resources.keys().find(|id| observed.run(id).is_some_and(numbered)).cloned();
        marked.or_else(owned).or_else(process)
    };
    // The port of a container is held by the engine or its child process, and that of a socket unit by the manager.
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
    while holders.values().any(ports::Holder::is_ending) && begun.elapsed() < EXIT {
        tokio::time::sleep(EXIT / 20).await;
        holders = ports::holders(&declared);
    }
    let identified = holders.into_iter().map(|(port, holder)| {
        let resource = holder.pid.and_then(owner).or_else(|| on_behalf(port));
        let command = holder.command.unwrap_or_else(|| format!("a process of the user {}", holder.user));
        (port, PortHolder { pid: holder.pid, command: command.chars().take(SHOWN).collect(), resource })
    });
    identified.collect()
}
