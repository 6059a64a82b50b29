//! The parts of a server that hands its socket off: its socket, its numbered instances, and the link to the current one.
//!
//! No number is given again before all of it is gone, and none under which the manager still has a process, a job or a
//! failure.

use super::super::Call;
use super::super::unit;
use super::execute::JOB;
use crate::render::marker;
use crate::resource::{Bytes, Resource, ResourceId};
use crate::systems::systemd::{self, JobResult, LoadState, Systemd, Unit};
use crate::systems::{Failure, Hint, Retry, Systems, files};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest wait for an instance to report its state, which it does at once.
pub(super) const WORD: Duration = Duration::from_secs(30);

/// The time for an instance that serves no client to end.
const GRACE: Duration = Duration::from_secs(10);

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

/// Has the current instance start with the machine.
pub(super) fn enable(systems: &Systems, id: &ResourceId) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let (wants, name) = (systems.units.join("default.target.wants"), unit::unit_name(id));
    files::create_folder(&wants).map_err(|error| failed(&error))?;
    files::link(&wants.join(&name), &Path::new("..").join(&name)).map_err(|error| failed(&error))
}

/// The parts of a server that hands its socket off.
pub(super) struct Parts<'a> {
    pub(super) call: Call<'a>,
    pub(super) id: &'a ResourceId,
    pub(super) systemd: Systemd,
    pub(super) runtime: PathBuf,
}

impl<'a> Parts<'a> {
    pub(super) async fn of(call: Call<'a>, id: &'a ResourceId) -> Result<Self, Failure> {
        let failed = |error: &dyn Hint| Failure::of(Some(id), error);
        let systemd = call.scope.systems.systemd().await.map_err(|error| failed(&error))?;
        let runtime = systemd.runtime_folder().await.map_err(|error| failed(&error))?;
        Ok(Self { call, id, systemd, runtime })
    }

    pub(super) fn failed(&self, error: &dyn Hint) -> Failure {
        Failure::of(Some(self.id), error)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.call.scope.systems.units.join(name)
    }

    pub(super) fn hold(&self, number: u64) -> PathBuf {
        self.runtime.join(unit::gate_name(self.id, number))
    }

    pub(super) fn last_number(&self) -> PathBuf {
        self.runtime.join(unit::last_number_name(self.id))
    }

    pub(super) fn current(&self) -> Option<u64> {
        current(self.call.scope.systems, self.id)
    }

    /// Returns the instances that have a unit file with this stack's marker, and the fingerprint of each.
    pub(super) fn instances(&self) -> Result<Vec<(u64, String)>, Failure> {
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
    pub(super) async fn with_log(&self, failure: Failure, number: u64) -> Failure {
        let log = self.systemd.last_lines(&unit::instance_name(self.id, number), SEARCHED).await;
        Failure { log, ..failure }
    }

    pub(super) async fn reload(&self) -> Result<(), Failure> {
        self.systemd.reload().await.map_err(|error| self.failed(&error))
    }

    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), Failure> {
        files::write(path, text.as_bytes(), files::PRIVATE).map_err(|error| self.failed(&error))
    }

    pub(super) fn write_instance(&self, resource: &Resource, number: u64) -> Result<(), Failure> {
        let text = unit::instance(self.call.scope.stack, resource, number);
        let text = text.map_err(|error| Failure::new(self.id, error.to_string()))?;
        self.write(&self.file(&unit::instance_name(self.id, number)), &text)
    }

    /// Returns an unused instance number: no existing instance has it, none that is still draining, and no unmanaged
    /// unit.
    pub(super) async fn free_number(&self) -> Result<u64, Failure> {
        let last = files::read_text(&self.last_number(), LIMIT).map_err(|error| self.failed(&error))?;
        let last = last.and_then(|text| text.trim().parse().ok()).max(self.current());
        let mut number = self.instances()?.last().map(|(number, _)| *number).max(last).map_or(1, |last| last + 1);
        loop {
            let name = unit::instance_name(self.id, number);
            let file = files::stamp(&self.file(&name)).map_err(|error| self.failed(&error))?;
            let live = self.unit(number).await?;
            if file.is_none() && live.is_idle() && live.load_state == LoadState::NotFound {
                files::create_folder(&self.runtime).map_err(|error| self.failed(&error))?;
                return self.write(&self.last_number(), &number.to_string()).map(|()| number);
            }
            number += 1;
        }
    }

    /// Makes an instance the current one, now and at the next boot.
    pub(super) fn make_current(&self, number: u64) -> Result<(), Failure> {
        let target = PathBuf::from(unit::instance_name(self.id, number));
        files::link(&self.call.scope.systems.unit_file(self.id), &target).map_err(|error| self.failed(&error))?;
        enable(self.call.scope.systems, self.id)
    }

    pub(super) async fn unit(&self, number: u64) -> Result<Unit, Failure> {
        self.systemd.unit(&unit::instance_name(self.id, number)).await.map_err(|error| self.failed(&error))
    }

    /// Ends an instance that serves no client.
    pub(super) async fn discard(&self, number: u64) -> Result<(), Failure> {
        self.end(number, GRACE).await
    }

    /// Ends an instance, by force after a time, removes what it has, and frees its name.
    pub(super) async fn end(&self, number: u64, patience: Duration) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        let mut stopped = self.systemd.stop(&name, patience).await;
        if let Err(systemd::Error::Deadline { .. }) = stopped {
            self.systemd.kill(&name).await.map_err(|error| self.failed(&error))?;
            stopped = self.systemd.stop(&name, JOB).await;
        }
        match stopped {
            Ok(_) | Err(systemd::Error::NoSuchUnit { .. }) => {}
            Err(error) => return Err(self.failed(&error)),
        }
        // How the job ended says little: another may have taken its place.
        let left = self.unit(number).await?;
        if !left.is_idle() {
            let why = format!("{name} does not stop: systemd reports `{}`", left.active_state);
            return Err(Failure { retry: Retry::Soon, ..Failure::new(self.id, why) });
        }
        self.systemd.reset_failed(&name).await.map_err(|error| self.failed(&error))?;
        for path in [self.hold(number), self.runtime.join(unit::private_name(self.id, number)), self.file(&name)] {
            files::remove(&path).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Has an instance take no more connections, and end by itself when its last streams have. The manager knows it without
    /// its file until then.
    pub(super) async fn retire(&self, number: u64) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        self.systemd.begin_stop(&name).await.map_err(|error| self.failed(&error))?;
        self.systemd.until_it_says(&name, "draining", WORD).await.map_err(|error| self.failed(&error))?;
        files::remove(&self.file(&name)).map(drop).map_err(|error| self.failed(&error))
    }

    /// Clears away every instance but the current one: one that clients have reached retires, any other is discarded.
    pub(super) async fn clear_others(&self) -> Result<(), Failure> {
        let current = self.current();
        let others = self.instances()?.into_iter().filter(|(number, _)| Some(*number) != current);
        let others: Vec<u64> = others.map(|(number, _)| number).collect();
        for number in &others {
            let live = self.unit(*number).await?;
            if live.runs() && (live.says("accepting") || live.says("draining")) {
                self.retire(*number).await?;
            } else {
                self.discard(*number).await?;
            }
        }
        if others.is_empty() { Ok(()) } else { self.reload().await }
    }

    /// Makes the socket listen on the server's port.
    pub(super) async fn listen(&self, port: u16) -> Result<(), Failure> {
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
