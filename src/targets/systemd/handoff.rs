//! Socket hand-off: a socket unit that stays, and one instance of the service per change.
//!
//! A successor starts beside the server, out of clients' reach, and is verified through a private socket. Only then
//! do clients reach it; the server accepts no more connections, drains its requests, and ends. The link with the
//! server's own name points to the current instance, also at the next boot.

use super::super::Call;
use super::super::unit;
use super::execute::JOB;
use super::instances::{Parts, WORD};
use super::observe::why;
use crate::resource::{Health, ResourceId, Run};
use crate::systems::clock::Clock as _;
use crate::systems::http::Client;
use crate::systems::start_clock::{self, StartClock};
use crate::systems::systemd::Unit;
use crate::systems::{Failure, files, health, listener, secrets};
use std::time::Duration;

/// The interval at which a successor is probed until it is ready.
const EVERY: Duration = Duration::from_millis(200);

/// The time for an instance to end, beyond the time for its streams.
const MARGIN: Duration = Duration::from_secs(90);

/// Starts a server that hands its port on where none runs: its socket, and its first instance.
pub(super) async fn start(call: Call<'_>, run: &Run) -> Result<(), Failure> {
    let resource = call.resource()?;
    let parts = Parts::of(call, &resource.id).await?;
    let declared = resource.fingerprint().to_string();
    let instances = parts.instances()?;
    let current = parts.current();
    let ready = instances.iter().find(|(number, made)| Some(*number) == current && *made == declared);
    let number = match ready {
        Some((number, _)) => *number,
        None => parts.free_number().await?,
    };
    files::create_folder(&parts.runtime).map_err(|error| parts.failed(&error))?;
    parts.write_instance(resource, number)?;
    parts.make_current(number)?;
    parts.clear_others().await?;
    let Some(port) = run.ports.first() else { return Err(Failure::new(&resource.id, "it has no port")) };
    // A socket cannot listen while the service of its name is missing.
    parts.listen(*port).await?;
    // The health check finds out whether it runs.
    let name = unit::instance_name(&resource.id, number);
    parts.systemd.begin_start(&name).await.map_err(|error| parts.failed(&error))
}

/// Starts the successor of a server out of clients' reach, and proves that it offers what it should.
pub(super) async fn rehearse(call: Call<'_>, run: &Run) -> Result<(), Failure> {
    let resource = call.resource()?;
    let parts = Parts::of(call, &resource.id).await?;
    let number = parts.free_number().await?;
    files::create_folder(&parts.runtime).map_err(|error| parts.failed(&error))?;
    parts.write(&parts.hold(number), "")?;
    parts.write_instance(resource, number)?;
    parts.reload().await?;
    let verified = prove(&parts, run, number).await;
    if let Err(failure) = verified {
        let failure = parts.with_log(failure, number).await;
        // Nobody was served by it. What cannot be cleared away now is found by the next plan.
        let _ = parts.discard(number).await;
        let _ = parts.reload().await;
        return Err(failure);
    }
    Ok(())
}

async fn prove(parts: &Parts<'_>, run: &Run, number: u64) -> Result<(), Failure> {
    let name = unit::instance_name(parts.id, number);
    parts.systemd.begin_start(&name).await.map_err(|error| parts.failed(&error))?;
    let mut clock = StartClock::new(run, parts.call.scope.systems.elapsed());
    loop {
        let live = parts.unit(number).await?;
        if !live.runs() || live.restarts > 0 {
            return Err(Failure::new(parts.id, ended("before it was ready", &live)));
        }
        if live.says("held") {
            break;
        }
        in_time(parts, &mut clock, &live, "is not ready").await?;
    }
    let socket = parts.runtime.join(unit::private_name(parts.id, number));
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
            return Err(Failure::new(parts.id, ended("before it could be probed", &live)));
        }
        in_time(parts, &mut clock, &live, &format!("is not healthy: {bad}")).await?;
    }
}

/// Returns that a successor exited, and why, as far as the manager knows.
fn ended(when: &str, live: &Unit) -> String {
    let why = why(live).map(|why| format!(": {why}")).unwrap_or_default();
    format!("its successor exited {when}{why}")
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

/// Has clients reach the successor, and the server end when its last requests have.
pub(super) async fn hand_off(call: Call<'_>) -> Result<(), Failure> {
    let resource = call.resource()?;
    let parts = Parts::of(call, &resource.id).await?;
    let declared = resource.fingerprint().to_string();
    let before = parts.current();
    let successor = parts.instances()?.into_iter().rfind(|(number, made)| Some(*number) > before && *made == declared);
    let Some((number, _)) = successor else { return Err(Failure::new(&resource.id, "its successor is gone")) };
    files::remove(&parts.hold(number)).map_err(|error| parts.failed(&error))?;
    let name = unit::instance_name(&resource.id, number);
    let said = parts.systemd.until_it_says(&name, "accepting", WORD).await.map_err(|error| parts.failed(&error))?;
    if !said.says("accepting") {
        let failure = Failure::new(&resource.id, ended("before clients reached it", &said));
        return Err(parts.with_log(failure, number).await);
    }
    parts.make_current(number)?;
    parts.reload().await?;
    if let Some(before) = before {
        parts.retire(before).await?;
        parts.reload().await?;
    }
    Ok(())
}

/// Clears away the instances that an interrupted hand-off left beside the current one.
pub(super) async fn clear_orphans(call: Call<'_>, id: &ResourceId) -> Result<(), Failure> {
    Parts::of(call, id).await?.clear_others().await
}

/// Stops a server that hands its port on, and removes all its parts.
pub(super) async fn dismantle(call: Call<'_>, id: &ResourceId) -> Result<(), Failure> {
    let parts = Parts::of(call, id).await?;
    let patience = MARGIN + call.stop_timeout();
    // The socket first, or what it gets next would start the server again.
    let socket = unit::socket_name(id);
    parts.systemd.stop(&socket, JOB).await.map_err(|error| parts.failed(&error))?;
    parts.systemd.disable(std::slice::from_ref(&socket)).await.map_err(|error| parts.failed(&error))?;
    for (number, _) in parts.instances()? {
        parts.end(number, patience).await?;
    }
    let name = unit::unit_name(id);
    let links = [parts.file(&name), parts.file("default.target.wants").join(&name)];
    for path in links.into_iter().chain([parts.file(&socket), parts.last_number()]) {
        files::remove(&path).map_err(|error| parts.failed(&error))?;
    }
    parts.reload().await
}
