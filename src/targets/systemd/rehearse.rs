//! The rehearsal of an instance that no client reaches: it comes up, and answers on its private socket as its probe
//! asks.

use super::parts::Parts;
use crate::resource::{Health, Run};
use crate::systems::clock::Clock as _;
use crate::systems::http::Client;
use crate::systems::start_clock::{self, StartClock};
use crate::systems::systemd::Unit;
use crate::systems::{Failure, health, listener, secrets};
use std::time::Duration;

/// The interval at which a successor is probed until it is ready.
const EVERY: Duration = Duration::from_millis(200);

/// Waits until an instance is up and offers what it should.
pub(super) async fn rehearse(parts: &Parts<'_>, number: u64) -> Result<(), Failure> {
    let run = parts.call.resource()?.run().ok_or_else(|| parts.call.unexpected())?;
    match verify(parts, run, number).await {
        Err(failure) => Err(parts.with_log(failure, number).await),
        Ok(()) => Ok(()),
    }
}

async fn verify(parts: &Parts<'_>, run: &Run, number: u64) -> Result<(), Failure> {
    let mut clock = StartClock::new(run, parts.call.scope.systems.elapsed());
    loop {
        let live = parts.unit(number).await?;
        if !live.runs() || live.restarts > 0 {
            return Err(parts.exited("before it was ready", &live));
        }
        if live.reports("held") {
            break;
        }
        in_time(parts, &mut clock, &live, "is not ready").await?;
    }
    let socket = parts.private(number);
    let client = Client::over(&socket).map_err(|error| parts.failed(&error))?;
    let token = run.probe.authorization().map(|authorization| secrets::resolve(&authorization.0)).transpose();
    let token = token.map_err(|error| parts.failed(&error))?;
    let mut clock = StartClock::new(run, parts.call.scope.systems.elapsed());
    loop {
        let proven = listener::prove_private(&socket, &run.probe).map_err(|unproven| {
            Failure::new(parts.id, format!("its successor cannot be probed: {}", unproven.health(&run.probe)))
        })?;
        let bad = match health::ask(&client, proven, token.as_ref().map(secrets::Secret::reveal)).await {
            Health::Healthy => return Ok(()),
            bad @ Health::Unhealthy { .. } => {
                return Err(Failure::new(parts.id, format!("its successor is not right: {bad}")));
            }
            bad => bad,
        };
        let live = parts.unit(number).await?;
        if !live.runs() {
            return Err(parts.exited("before it could be probed", &live));
        }
        in_time(parts, &mut clock, &live, &format!("is not healthy: {bad}")).await?;
    }
}

/// Waits for one interval while a successor starts; fails when it is out of time or the execution is cancelled.
async fn in_time(parts: &Parts<'_>, clock: &mut StartClock<'_>, live: &Unit, state: &str) -> Result<(), Failure> {
    if let Some(late) = clock.is_late(live.memory_current.unwrap_or_default(), parts.call.scope.systems.elapsed()) {
        let why = format!("its successor {state} after {} s", late.as_secs());
        return Err(start_clock::needs_longer(Failure::new(parts.id, why)));
    }
    tokio::select! {
        () = tokio::time::sleep(EVERY) => Ok(()),
        () = parts.call.cancel.cancelled() => {
            Err(Failure { interrupted: true, ..Failure::new(parts.id, "stopped while it was starting") })
        }
    }
}
