//! Reads back the settings that engines report of their servers.

use crate::engines;
use crate::live::{Observation, RunState};
use crate::resolve::Desired;
use crate::resource::ResourceId;
use crate::systems::listener::{self, Sockets};
use crate::systems::{Systems, readings};
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// Returns what each server reports that runs as it is declared. One that loads, sleeps or is busy reports nothing, and
/// only the process that was started is asked.
pub(super) async fn reported(
    systems: &Systems,
    desired: &Desired,
    observed: &Observation,
) -> Vec<(ResourceId, BTreeMap<String, String>)> {
    let asked = desired.runs().filter_map(|(resource, run)| {
        let readings = engines::readings(run.engine.as_ref()?.as_str());
        let live = observed.run(&resource.id)?;
        let runs = live.phase == RunState::Running && live.running.as_ref() == Some(&resource.fingerprint());
        (runs && !readings.is_empty()).then_some((&resource.id, run, readings))
    });
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let sockets = Sockets::default();
    let answers = asked.into_iter().map(|(id, run, of_engine)| {
        let sockets = &sockets;
        async move {
            let proven = listener::prove(systems, sockets, &desired.stack, id, &run.probe).await.ok()?;
            Some((id.clone(), readings::read(&systems.client, proven, of_engine).await))
        }
    });
    join_all(answers).await.into_iter().flatten().collect()
}
