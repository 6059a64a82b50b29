//! Socket hand-off: a socket unit that stays, and one instance of the service per change.
//!
//! A successor starts beside the server, out of clients' reach, and is verified through a private socket. Only then
//! do clients reach it; the server accepts no more connections, drains its requests, and ends. The link with the
//! server's own name points to the current instance, also at the next boot.

use super::super::Call;
use super::super::unit;
use super::execute::JOB;
use crate::render::marker;
use crate::resource::{Bytes, Health, Resource, ResourceId, Run};
use crate::systems::http::Client;
use crate::systems::systemd::{ActiveState, JobResult, LoadState, Systemd};
use crate::systems::{Failure, Hint, Systems, files, health, listener, secrets};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest wait for an instance to report its state, which it does at once.
const WORD: Duration = Duration::from_secs(30);

/// The interval at which a successor is probed until it is ready.
const EVERY: Duration = Duration::from_millis(200);

/// The time for an instance to end, beyond the time for its streams.
const MARGIN: Duration = Duration::from_secs(90);

/// The longest that a server may take to stop of which nothing else is known.
const LONGEST_STOP: Duration = Duration::from_secs(300);

/// How many lines of a successor's log are searched for the cause of a failure.
const SEARCHED: usize = 200;

/// The largest unit file that is read, in bytes.
const LIMIT: Bytes = Bytes(1 << 20);

/// Returns whether a server hands its socket off as it is now.
pub(super) fn is_current(systems: &Systems, id: &ResourceId) -> bool {
    current(systems, id).is_some()
}

/// Returns the name under which the manager knows what runs a server.
pub(super) fn running_unit(systems: &Systems, id: &ResourceId) -> String {
    current(systems, id).map_or_else(|| unit::unit_name(id), |number| unit::instance_name(id, number))
}

/// Returns the number of the instance that is current.
fn current(systems: &Systems, id: &ResourceId) -> Option<u64> {
    let target = files::link_target(&systems.unit_file(id)).ok().flatten()?;
    number(id, &target.file_name()?.to_string_lossy())
}

/// Returns the number of an instance from the name of its unit file.
fn number(id: &ResourceId, name: &str) -> Option<u64> {
    name.strip_prefix(&format!("{}-", id.name))?.strip_suffix(".service")?.parse().ok()
}

/// The parts of a server that hands its port on.
struct Parts<'a> {
    call: Call<'a>,
    id: &'a ResourceId,
    systemd: &'a Systemd,
    runtime: PathBuf,
}

impl<'a> Parts<'a> {
    async fn of(call: Call<'a>, id: &'a ResourceId) -> Result<Self, Failure> {
        let failed = |error: &dyn Hint| Failure::of(Some(id), error);
        let systemd = call.scope.systems.systemd().await.map_err(|error| failed(&error))?;
        let runtime = systemd.runtime_folder().await.map_err(|error| failed(&error))?;
        Ok(Self { call, id, systemd, runtime })
    }

    fn failed(&self, error: &dyn Hint) -> Failure {
        Failure::of(Some(self.id), error)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.call.scope.systems.units.join(name)
    }

    fn hold(&self, number: u64) -> PathBuf {
        self.runtime.join(unit::gate_name(self.id, number))
    }

    fn current(&self) -> Option<u64> {
        current(self.call.scope.systems, self.id)
    }

    /// Returns the instances that have a unit file with our mark, and the fingerprint of each.
    fn instances(&self) -> Result<Vec<(u64, String)>, Failure> {
        let mut live = Vec::new();
        for name in files::names(&self.call.scope.systems.units).map_err(|error| self.failed(&error))? {
            let Some(number) = number(self.id, &name) else { continue };
            let text = files::read_text(&self.file(&name), LIMIT).map_err(|error| self.failed(&error))?;
            let managed = text.and_then(|text| marker::read(&text));
            let managed = managed.filter(|it| it.resource == *self.id && it.stack == self.call.scope.stack);
            live.extend(managed.map(|marker| (number, marker.fingerprint.to_string())));
        }
        live.sort_unstable();
        Ok(live)
    }

    /// Adds what an instance wrote.
    async fn with_log(&self, failure: Failure, number: u64) -> Failure {
        let log = self.systemd.last_lines(&unit::instance_name(self.id, number), SEARCHED).await;
        Failure { log, ..failure }
    }

    async fn reload(&self) -> Result<(), Failure> {
        self.systemd.reload().await.map_err(|error| self.failed(&error))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Failure> {
        files::write(path, text.as_bytes(), files::PRIVATE).map_err(|error| self.failed(&error))
    }

    fn write_instance(&self, resource: &Resource, number: u64) -> Result<(), Failure> {
        let text = unit::instance(self.call.scope.stack, resource, number);
        let text = text.map_err(|error| Failure::new(self.id, error.to_string()))?;
        self.write(&self.file(&unit::instance_name(self.id, number)), &text)
    }

    /// Returns an unused instance number: no existing instance has it, none that is still draining, and no unmanaged
    /// unit.
    async fn free_number(&self) -> Result<u64, Failure> {
        let last = self.instances()?.last().map(|(number, _)| *number);
        let mut number = last.max(self.current()).map_or(1, |last| last + 1);
        loop {
            let name = unit::instance_name(self.id, number);
            let file = files::stamp(&self.file(&name)).map_err(|error| self.failed(&error))?;
            let unit = self.systemd.unit(&name).await.map_err(|error| self.failed(&error))?;
            let idle = matches!(unit.active_state, ActiveState::Inactive | ActiveState::Failed);
            if file.is_none() && idle && unit.load_state == LoadState::NotFound {
                return Ok(number);
            }
            number += 1;
        }
    }

    /// Makes an instance the current one, now and at the next boot.
    fn make_current(&self, number: u64) -> Result<(), Failure> {
        let target = PathBuf::from(unit::instance_name(self.id, number));
        files::link(&self.call.scope.systems.unit_file(self.id), &target).map_err(|error| self.failed(&error))?;
        enable(self.call.scope.systems, self.id)
    }

    /// Starts an instance; returns when it reports that it is up.
    async fn start(&self, run: &Run, number: u64) -> Result<JobResult, Failure> {
        let name = unit::instance_name(self.id, number);
        let job = self.systemd.start(&name, JOB + run.timeout.duration()).await;
        job.map(|job| job.result).map_err(|error| self.failed(&error))
    }

    /// Stops an instance and removes what it has.
    async fn clear(&self, number: u64, patience: Duration) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        self.systemd.stop(&name, patience).await.map_err(|error| self.failed(&error))?;
        for path in [self.file(&name), self.hold(number), self.runtime.join(unit::private_name(self.id, number))] {
            files::remove(&path).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Removes every instance but the current one.
    async fn clear_others(&self) -> Result<(), Failure> {
        let current = self.current();
        let others = self.instances()?.into_iter().filter(|(number, _)| Some(*number) != current);
        let others: Vec<u64> = others.map(|(number, _)| number).collect();
        for number in &others {
            // It may still be draining streams.
            self.clear(*number, MARGIN + LONGEST_STOP).await?;
        }
        if others.is_empty() { Ok(()) } else { self.reload().await }
    }

    /// Makes the socket listen on the server's port.
    async fn listen(&self, port: u16) -> Result<(), Failure> {
        let name = unit::socket_name(self.id);
        let text = unit::socket(self.call.scope.stack, self.id, port);
        let known = files::read_text(&self.file(&name), LIMIT).map_err(|error| self.failed(&error))?;
        if known.as_ref().is_some_and(|known| *known != text) {
            self.systemd.stop(&name, JOB).await.map_err(|error| self.failed(&error))?;
        }
        self.write(&self.file(&name), &text)?;
        self.reload().await?;
        self.systemd.enable(std::slice::from_ref(&name)).await.map_err(|error| self.failed(&error))?;
        // systemd makes the link and does not sync it.
        let wants = self.call.scope.systems.units.join("sockets.target.wants");
        files::sync(&wants).map_err(|error| self.failed(&error))?;
        let job = self.systemd.start(&name, JOB).await.map_err(|error| self.failed(&error))?;
        if job.result == JobResult::Done {
            return Ok(());
        }
        Err(Failure::new(self.id, format!("its socket cannot listen on port {port}: systemd reports `{}`", job.result)))
    }
}

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
    parts.start(run, number).await.map(drop)
}

/// Starts the successor of a server out of clients' reach, and proves that it offers what it should.
pub(super) async fn rehearse(call: Call<'_>, run: &Run) -> Result<(), Failure> {
    let resource = call.resource()?;
    let parts = Parts::of(call, &resource.id).await?;
    parts.clear_others().await?;
    let number = parts.free_number().await?;
    files::create_folder(&parts.runtime).map_err(|error| parts.failed(&error))?;
    parts.write(&parts.hold(number), "")?;
    parts.write_instance(resource, number)?;
    parts.reload().await?;
    let verified = prove(&parts, run, number).await;
    if let Err(failure) = verified {
        let failure = parts.with_log(failure, number).await;
        // Nobody was served by it. What cannot be cleared away now is found by the next plan.
        let _ = parts.clear(number, MARGIN).await;
        let _ = parts.reload().await;
        return Err(failure);
    }
    Ok(())
}

async fn prove(parts: &Parts<'_>, run: &Run, number: u64) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(parts.id, why);
    let result = parts.start(run, number).await?;
    if result != JobResult::Done {
        return Err(failed(format!("its successor does not start: systemd reports `{result}`")));
    }
    let name = unit::instance_name(parts.id, number);
    let said = parts.systemd.until_it_says(&name, "held", WORD).await.map_err(|error| parts.failed(&error))?;
    if !said.status_text.starts_with("held") {
        return Err(failed("its successor exited before it could be probed".to_owned()));
    }
    let socket = parts.runtime.join(unit::private_name(parts.id, number));
    let client = Client::over(&socket).map_err(|error| parts.failed(&error))?;
    let token = run.probe.authorization().map(|authorization| secrets::resolve(&authorization.0)).transpose();
    let token = token.map_err(|error| parts.failed(&error))?;
    let begun = Instant::now();
    loop {
        let proven = listener::prove_private(&socket, &run.probe);
        let proven = proven
            .map_err(|unproven| failed(format!("its successor cannot be probed: {}", unproven.health(&run.probe))))?;
        match health::ask(&client, proven, token.as_ref().map(secrets::Secret::reveal)).await {
            Health::Healthy => return Ok(()),
            bad @ Health::Unhealthy { .. } => return Err(failed(format!("its successor is not right: {bad}"))),
            bad if begun.elapsed() >= run.timeout.duration() => {
                return Err(failed(format!("its successor is not healthy: {bad}")));
            }
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = parts.call.cancel.cancelled() => {
                return Err(Failure { interrupted: true, ..Failure::new(parts.id, "stopped while it was starting") });
            }
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
    if !said.status_text.starts_with("accepting") {
        let failure = Failure::new(&resource.id, "its successor ended before clients reached it");
        return Err(parts.with_log(failure, number).await);
    }
    parts.make_current(number)?;
    parts.reload().await?;
    if let Some(before) = before {
        let name = unit::instance_name(&resource.id, before);
        parts.systemd.begin_stop(&name).await.map_err(|error| parts.failed(&error))?;
        parts.systemd.until_it_says(&name, "draining", WORD).await.map_err(|error| parts.failed(&error))?;
        // It ends by itself; until then the manager knows it without its file.
        files::remove(&parts.file(&name)).map_err(|error| parts.failed(&error))?;
        parts.reload().await?;
    }
    Ok(())
}

/// Has the current instance start with the machine.
pub(super) fn enable(systems: &Systems, id: &ResourceId) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let (wants, name) = (systems.units.join("default.target.wants"), unit::unit_name(id));
    files::create_folder(&wants).map_err(|error| failed(&error))?;
    files::link(&wants.join(&name), &Path::new("..").join(&name)).map_err(|error| failed(&error))
}

/// Clears away successors that never took their place.
pub(super) async fn clear_orphaned_instances(call: Call<'_>, id: &ResourceId) -> Result<(), Failure> {
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
        parts.clear(number, patience).await?;
    }
    let name = unit::unit_name(id);
    for path in [parts.file(&name), parts.file("default.target.wants").join(&name), parts.file(&socket)] {
        files::remove(&path).map_err(|error| parts.failed(&error))?;
    }
    parts.reload().await
}
