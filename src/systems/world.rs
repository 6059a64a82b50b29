//! The outside world of one stack: the connections to its systems, made when they are first used.

use super::{Handle, docker, http, process, systemd};
use crate::resource::ResourceId;
use llamero_core::targets::systemd::lower::unit_name;
use std::path::PathBuf;
use std::time::Instant;

/// The folders of records about what was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFolders {
    /// About model files.
    pub artifacts: PathBuf,
    /// About models on servers.
    pub models: PathBuf,
    /// About images.
    pub images: PathBuf,
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
    /// The folders of records about what was fetched.
    pub records: RecordFolders,
    pub(super) started: Instant,
    systemd: Handle<systemd::Systemd>,
    docker: Handle<docker::Docker>,
    logind: Handle<systemd::Logind>,
}

impl Systems {
    /// Returns the outside world; nothing is connected yet.
    #[must_use]
    pub fn new(client: http::Client, processes: process::Processes, units: PathBuf, records: RecordFolders) -> Self {
        let (systemd, docker) = (Handle::new(systemd::Systemd::connect), Handle::new(docker::Docker::connect));
        let logind = Handle::new(systemd::Logind::connect);
        let started = Instant::now();
        Self { client, processes, units, records, started, systemd, docker, logind }
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
