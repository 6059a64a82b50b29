//! The health of running servers.

use crate::live::{LiveRun, Observation};
use crate::resolve::Desired;
use crate::resource::{Health, ResourceId, Run};
use crate::systems::listener::{self, Foreign, Sockets, Unproven};
use crate::systems::secrets::{self, Secret};
use crate::systems::{Hint, Systems, health, with_causes};
use futures_util::future::join_all;

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
        Err(error) => Health::NotAsked { why: with_causes(&error), hint: error.hint() },
    })
}

/// Returns the health of every declared server that is up.
pub(super) async fn ask_all(systems: &Systems, desired: &Desired, observed: &Observation) -> Vec<(ResourceId, Health)> {
    let up = desired.runs().filter_map(|(resource, run)| {
        let live = observed.run(&resource.id).filter(|live| live.is_up())?;
        Some((&resource.id, run, live))
    });
    let sockets = Sockets::default();
    let questions = up.map(|(id, run, live)| {
        let asked = health_of(systems, &sockets, &desired.stack, (id, run), live);
        async move { (id.clone(), asked.await.unwrap_or_else(|foreign| Health::unhealthy(foreign.to_string()))) }
    });
    join_all(questions).await
}
