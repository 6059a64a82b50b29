//! Calls on the parts of a server that hands its socket off.

use super::super::driver::Call;
use super::ended::why;
use crate::resource::ResourceId;
use crate::systems::systemd::{self, JobResult, Systemd, Unit, Weight, boot};
use crate::systems::{Failure, Hint, Retry, files, owned};
use llamero_core::targets::systemd::lower as unit;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest wait for a job beyond what the unit itself may take.
pub(super) const JOB: Duration = Duration::from_secs(30);

/// The longest wait for an instance to report its state, which it does at once.
const WORD: Duration = Duration::from_secs(30);

/// The number of lines of an instance's log that are searched for the cause of a failure.
const SEARCHED: usize = 200;

/// The parts of one server.
pub(super) struct Parts<'a> {
    pub(super) call: Call<'a>,
    pub(super) id: &'a ResourceId,
    pub(super) systemd: Systemd,
    pub(super) runtime: PathBuf,
}

impl Parts<'_> {
    pub(super) fn failed(&self, error: &dyn Hint) -> Failure {
        Failure::of(Some(self.id), error)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.call.scope.systems.units.join(name)
    }

    fn gate(&self, number: u64) -> PathBuf {
        self.runtime.join(unit::gate_name(self.id, number))
    }

    pub(super) fn private(&self, number: u64) -> PathBuf {
        self.runtime.join(unit::private_name(self.id, number))
    }

    pub(super) async fn unit(&self, number: u64) -> Result<Unit, Failure> {
        self.systemd.unit(&unit::instance_name(self.id, number)).await.map_err(|error| self.failed(&error))
    }

    /// Adds the last lines that an instance wrote.
    pub(super) async fn with_log(&self, failure: Failure, number: u64) -> Failure {
        let log = self.systemd.last_lines(&unit::instance_name(self.id, number), SEARCHED).await;
        Failure { log, ..failure }
    }

    /// Returns the failure of a successor that exited, and why it did, as far as the manager knows.
    pub(super) fn exited(&self, when: &str, live: &Unit) -> Failure {
        let why = why(live).map(|why| format!(": {why}")).unwrap_or_default();
        Failure::new(self.id, format!("its successor exited {when}{why}"))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Failure> {
        files::write(path, text.as_bytes(), files::PRIVATE).map_err(|error| self.failed(&error))
    }

    fn remove_file(&self, path: &Path) -> Result<(), Failure> {
        files::remove(path).map(drop).map_err(|error| self.failed(&error))
    }

    pub(super) fn define_socket(&self) -> Result<(), Failure> {
        let ports = self.call.resource()?.run().map(|run| run.ports.as_slice()).unwrap_or_default();
        let Some(port) = ports.first() else { return Err(Failure::new(self.id, "it has no port")) };
        let path = self.file(&unit::socket_name(self.id));
        owned::check(self.call.scope.stack, self.id, &path)?;
        self.write(&path, &unit::socket(self.call.scope.stack, self.id, *port))
    }

    pub(super) fn enable_socket(&self) -> Result<(), Failure> {
        let units = &self.call.scope.systems.units;
        boot::enable(units, &unit::socket_name(self.id)).map_err(|error| self.failed(&error))
    }

    pub(super) async fn start_socket(&self) -> Result<(), Failure> {
        let job = self.systemd.start(&unit::socket_name(self.id), JOB).await.map_err(|error| self.failed(&error))?;
        if job.result == JobResult::Done {
            return Ok(());
        }
        Err(Failure::new(self.id, format!("its socket cannot listen: systemd reports `{}`", job.result)))
    }

    pub(super) fn remove_socket(&self) -> Result<(), Failure> {
        let socket = unit::socket_name(self.id);
        let path = self.file(&socket);
        owned::check(self.call.scope.stack, self.id, &path)?;
        boot::disable(&self.call.scope.systems.units, &socket).map_err(|error| self.failed(&error))?;
        self.remove_file(&path)
    }

    pub(super) fn close_gate(&self, number: u64) -> Result<(), Failure> {
        files::create_folder(&self.runtime).map_err(|error| self.failed(&error))?;
        self.write(&self.gate(number), "")
    }

    pub(super) fn define(&self, number: u64) -> Result<(), Failure> {
        // An instance starts on its private socket there.
        files::create_folder(&self.runtime).map_err(|error| self.failed(&error))?;
        let text = unit::instance(self.call.scope.stack, self.call.resource()?, number);
        let text = text.map_err(|error| Failure::new(self.id, error.to_string()))?;
        let path = self.file(&unit::instance_name(self.id, number));
        owned::check(self.call.scope.stack, self.id, &path)?;
        self.write(&path, &text)
    }

    pub(super) async fn weigh(&self, number: u64, weight: Weight) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        self.systemd.weigh(&name, weight).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn open_gate(&self, number: u64) -> Result<(), Failure> {
        self.remove_file(&self.gate(number))?;
        let name = unit::instance_name(self.id, number);
        let live =
            self.systemd.until_it_reports(&name, "accepting", WORD).await.map_err(|error| self.failed(&error))?;
        if live.reports("accepting") {
            return Ok(());
        }
        Err(self.with_log(self.exited("before clients reached it", &live), number).await)
    }

    pub(super) fn make_current(&self, number: u64) -> Result<(), Failure> {
        let path = self.call.scope.systems.unit_file(self.id);
        owned::check(self.call.scope.stack, self.id, &path)?;
        let target = PathBuf::from(unit::instance_name(self.id, number));
        files::link(&path, &target).map_err(|error| self.failed(&error))
    }

    /// Has an instance drain its requests. The manager knows it without its file until it has.
    pub(super) async fn drain(&self, number: u64) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        self.systemd.begin_stop(&name).await.map_err(|error| self.failed(&error))?;
        self.systemd.until_it_reports(&name, "draining", WORD).await.map(drop).map_err(|error| self.failed(&error))
    }

    /// Ends an instance, by force when its time is over, and frees its name.
    pub(super) async fn end(&self, number: u64, within: Duration) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        self.stop(&name, within).await?;
        // How the job ended says little: another may have taken its place.
        let left = self.unit(number).await?;
        if !left.is_idle() {
            let why = format!("{name} does not stop: systemd reports `{}`", left.active_state);
            return Err(Failure { retry: Retry::Soon, ..Failure::new(self.id, why) });
        }
        self.systemd.reset_failed(&name).await.map_err(|error| self.failed(&error))?;
        self.remove_file(&self.private(number))
    }

    pub(super) async fn stop(&self, name: &str, within: Duration) -> Result<(), Failure> {
        let mut stopped = self.systemd.stop(name, within).await;
        if let Err(systemd::Error::Deadline { .. }) = stopped {
            self.systemd.kill(name).await.map_err(|error| self.failed(&error))?;
            stopped = self.systemd.stop(name, JOB).await;
        }
        match stopped {
            Ok(_) | Err(systemd::Error::NoSuchUnit { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) fn remove(&self, number: u64) -> Result<(), Failure> {
        let name = unit::instance_name(self.id, number);
        let path = self.file(&name);
        owned::check(self.call.scope.stack, self.id, &path)?;
        files::remove_folder(&systemd::settings_folder(&self.runtime, &name)).map_err(|error| self.failed(&error))?;
        self.remove_file(&self.gate(number))?;
        self.remove_file(&path)
    }

    pub(super) fn remove_name(&self) -> Result<(), Failure> {
        let systems = self.call.scope.systems;
        let path = systems.unit_file(self.id);
        owned::check(self.call.scope.stack, self.id, &path)?;
        boot::disable(&systems.units, &unit::unit_name(self.id)).map_err(|error| self.failed(&error))?;
        self.remove_file(&path)
    }
}
