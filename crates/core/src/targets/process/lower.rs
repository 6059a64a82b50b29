//! The launch record from which llamero's supervisor starts a server.

use crate::resource::{Fingerprint, Resource, ResourceId, Restart, Seconds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A server to be supervised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The stack that it belongs to.
    pub stack: String,
    /// The resource that it is.
    pub resource: ResourceId,
    /// The fingerprint of what was asked for.
    pub fingerprint: Fingerprint,
    /// The command; the first word is an absolute path.
    pub argv: Vec<String>,
    /// Environment variables, none of them secret.
    pub environment: BTreeMap<String, String>,
    /// The file with the secret part of the environment, read at every start.
    pub environment_file: Option<PathBuf>,
    /// The folder in which it runs; the user's home where there is none.
    pub working_directory: Option<PathBuf>,
    /// The time for it to stop before it is killed.
    pub stop_timeout: Seconds,
    /// The restart policy when it ends by itself.
    #[serde(default)]
    pub restart: Restart,
}

/// Returns the launch record of a server; `None` where the resource is none.
#[must_use]
pub fn launch(stack: &str, resource: &Resource) -> Option<Launch> {
    let run = resource.run()?;
    Some(Launch {
        stack: stack.to_owned(),
        resource: resource.id.clone(),
        fingerprint: resource.fingerprint(),
        argv: run.command.argv(),
        environment: run.environment.clone(),
        environment_file: run.environment_file.as_ref().map(|file| file.0.clone()),
        working_directory: run.working_directory.clone(),
        stop_timeout: run.stop_timeout,
        restart: run.restart,
    })
}
