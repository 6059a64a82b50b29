//! Adapters, one file per outside system. Each translates between plain values and one system's interface, and
//! decides nothing: no plan, no order, no policy.
//!
//! Every call that leaves this process has its deadline written next to it.

pub mod artifacts;
pub mod clock;
pub mod detached;
pub mod docker;
pub mod downloads;
pub mod exclusive;
pub mod external;
mod failure;
pub mod files;
pub mod gpu;
mod handle;
pub mod health;
pub mod http;
mod inspection;
pub mod listener;
pub mod ollama;
pub mod openai;
pub mod output;
pub mod owned;
pub mod ports;
pub mod proc;
pub mod process;
pub mod program;
pub mod pulled;
pub mod python;
pub mod readings;
mod resp;
pub mod sealed;
pub mod secrets;
pub mod sleep;
pub mod start_clock;
pub mod store;
pub mod systemd;

pub use failure::{Failure, FailureKind, with_causes};
pub use handle::{Connection, Handle};
pub use inspection::removal;

use crate::resource::ResourceId;
use llamero_core::targets::systemd::lower::unit_name;
use std::path::PathBuf;

/// The point in time at which retrying a failed operation makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The failure is transient: a lost connection, a busy peer.
    Soon,
    /// The failure is permanent while the manifest and the machine stay as they are.
    Never,
}

/// The advice that belongs to an error.
pub trait Hint: std::error::Error {
    /// Returns one sentence without a full stop, if there is advice to give.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns whether the operation was only interrupted.
    fn interrupted(&self) -> bool {
        false
    }

    /// Returns when a retry makes sense.
    fn retry(&self) -> Retry {
        Retry::Never
    }

    /// Returns the kind of the failure, where it ends a request.
    fn kind(&self) -> FailureKind {
        FailureKind::Error
    }
}

/// The outside world of one stack.
#[derive(Debug)]
pub struct Systems {
    /// The HTTP client for servers and downloads.
    pub client: http::Client,
    /// The process runtime's servers.
    pub processes: process::Processes,
    /// The folder of the user's unit files.
    pub units: PathBuf,
    /// The folder of records about model files.
    pub records: PathBuf,
    /// The folder of records about models on servers.
    pub pulled: PathBuf,
    /// The folder of records about images.
    pub images: PathBuf,
    started: std::time::Instant,
    systemd: Handle<systemd::Systemd>,
    docker: Handle<docker::Docker>,
    logind: Handle<systemd::Logind>,
}

impl Systems {
    /// Returns the outside world; nothing is connected yet.
    #[must_use]
    pub fn new(
        client: http::Client,
        processes: process::Processes,
        units: PathBuf,
        records: PathBuf,
        pulled: PathBuf,
        images: PathBuf,
    ) -> Self {
        let (systemd, docker) = (Handle::new(systemd::Systemd::connect), Handle::new(docker::Docker::connect));
        let logind = Handle::new(systemd::Logind::connect);
        let started = std::time::Instant::now();
        Self { client, processes, units, records, pulled, images, started, systemd, docker, logind }
    }

    /// Returns the same with another way to the systemd user manager.
    #[must_use]
    pub fn with_systemd(self, systemd: Handle<systemd::Systemd>) -> Self {
        Self { systemd, ..self }
    }

    /// Returns the same with another way to the container engine.
    #[must_use]
    pub fn with_docker(self, docker: Handle<docker::Docker>) -> Self {
        Self { docker, ..self }
    }

    /// Returns the same with another way to the login manager.
    #[must_use]
    pub fn with_logind(self, logind: Handle<systemd::Logind>) -> Self {
        Self { logind, ..self }
    }

    /// Returns whether this user's manager outlives the user's sessions; `None` where that is not known.
    pub async fn lingers(&self) -> Option<bool> {
        self.logind.get().await.ok()?.lingers(rustix::process::getuid().as_raw()).await
    }

    /// Returns the connection to the systemd user manager.
    pub async fn systemd(&self) -> Result<systemd::Systemd, systemd::Error> {
        self.systemd.get().await
    }

    /// Returns the client of the container engine.
    pub async fn docker(&self) -> Result<docker::Docker, docker::Error> {
        self.docker.get().await
    }

    /// Returns the file of a unit.
    #[must_use]
    pub fn unit_file(&self, id: &ResourceId) -> PathBuf {
        self.units.join(unit_name(id))
    }
}
