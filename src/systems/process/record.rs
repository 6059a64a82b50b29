//! The records of a server, as JSON files that a person can read.

use super::super::files;
use super::super::proc::Identity;
use super::Error;
use crate::resource::{Fingerprint, ResourceId, Seconds};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The largest record that is read, in bytes.
const LIMIT: u64 = 4 << 20;

/// What to run.
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
    /// The file with the secret part of the environment.
    pub environment_file: Option<PathBuf>,
    /// The folder in which it runs.
    pub working_directory: Option<PathBuf>,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Seconds,
}

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its supervisor is about to start it.
    #[default]
    Starting,
    /// Its process lives.
    Running,
    /// It ended badly and is about to be started again.
    BackingOff,
    /// It was stopped.
    Stopped,
    /// It ended by itself, without an error.
    Exited,
    /// It ended badly too often, or could not be run.
    Failed,
    /// It is gone together with its supervisor: killed, or the machine was started anew.
    Lost,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "killed by signal {signal}"),
            (None, None) => f.write_str("ended"),
        }
    }
}

/// How a server fares, as its supervisor last wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// What it is doing.
    pub stage: Stage,
    /// The supervisor.
    pub supervisor: Option<Identity>,
    /// The server's process.
    pub process: Option<Identity>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended.
    pub exit: Option<Exit>,
    /// Why it could not be run.
    pub why: Option<String>,
}

pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(text) = files::read(path, LIMIT)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|source| Error::Damaged { path: path.to_owned(), source })
}

pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let damaged = |source| Error::Damaged { path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(value).map_err(damaged)?;
    Ok(files::write(path, text.as_bytes(), files::PRIVATE)?)
}
