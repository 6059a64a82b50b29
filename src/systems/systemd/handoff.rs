//! What one instance of a service needs to take over from another: what it says of itself is waited for, the old one is
//! stopped without waiting for it, and both have files that live until the next boot.
//!
//! In which order this is done, and when it is given up, is decided elsewhere.

use super::bus::PropertiesProxy;
use super::client::{CALL, Systemd};
use super::error::Error;
use super::unit::Unit;
use std::path::PathBuf;
use std::time::Duration;
use zbus::proxy::CacheProperties;

/// The polling interval for a service's status.
const POLL: Duration = Duration::from_millis(50);

impl Systemd {
    /// Returns llamero's folder for what lives until the next boot: `%t/llamero` of the manager's units.
    pub async fn runtime_folder(&self) -> Result<PathBuf, Error> {
        self.within(CALL, "ask the manager for its environment", async {
            let manager = self.manager.inner();
            let properties = PropertiesProxy::builder(&self.connection).path(manager.path().to_owned());
            let properties = properties.cache_properties(CacheProperties::No).build().await?;
            let variables: Vec<String> = properties.one(manager.interface(), "Environment").await?.try_into()?;
            let folder = variables.iter().find_map(|variable| variable.strip_prefix("XDG_RUNTIME_DIR="));
            let missing = || zbus::Error::Failure("the manager has no XDG_RUNTIME_DIR".to_owned());
            folder.map(|folder| PathBuf::from(folder).join("llamero")).ok_or_else(missing)
        })
        .await
    }

    /// Waits until the first word that a service says of itself is `word`, or until it does not run any more; returns
    /// it as it then is. One that waits to be started again after a crash does not run.
    pub async fn until_it_reports(&self, unit: &str, word: &str, deadline: Duration) -> Result<Unit, Error> {
        let wait = async {
            loop {
                let live = self.unit(unit).await?;
                if live.reports(word) || !live.runs() {
                    return Ok(live);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let what = format!("wait for `{unit}` to report `{word}`");
        tokio::time::timeout(deadline, wait).await.unwrap_or(Err(Error::Deadline { what, after: deadline }))
    }

    /// Queues the start of a unit, and does not wait for it: its state shows the result.
    pub async fn begin_start(&self, unit: &str) -> Result<(), Error> {
        let call = async {
            self.forget_failure(unit).await?;
            self.manager.start_unit(unit, "replace").await
        };
        self.within(CALL, &format!("start `{unit}`"), call).await.map(drop)
    }

    /// Queues the stop of a service, and does not wait for it.
    pub async fn begin_stop(&self, unit: &str) -> Result<(), Error> {
        self.within(CALL, &format!("stop `{unit}`"), self.manager.stop_unit(unit, "replace")).await.map(drop)
    }

    /// Kills all processes of a unit.
    pub async fn kill(&self, unit: &str) -> Result<(), Error> {
        let signal = rustix::process::Signal::KILL.as_raw();
        self.within(CALL, &format!("kill `{unit}`"), self.manager.kill_unit(unit, "all", signal)).await
    }

    /// Has the manager forget how a unit failed, and with it the unit, once it has no file.
    pub async fn reset_failed(&self, unit: &str) -> Result<(), Error> {
        self.within(CALL, &format!("reset `{unit}`"), self.forget_failure(unit)).await
    }
}
