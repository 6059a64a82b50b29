//! Steps: one call on one system each, with what must have happened before.

use super::canary::Trial;
use crate::live::Managed;
use crate::resource::ResourceId;
use serde::Serialize;
use std::fmt;

/// A step's number within its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StepId(pub usize);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0 + 1)
    }
}

/// When a step happens. Every step of one phase ends before the first of the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Disturbs nothing that runs: downloads, environments.
    Stage,
    /// Changes what runs, with the route of one model alone, and tries that.
    Canary,
    /// Changes what runs. Its end is the health gate.
    Switch,
    /// Clears away what is no longer declared, after the new generation is committed.
    Prune,
}

/// One call on one system. What it takes beyond the resource's wish is in the variant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action", content = "of")]
pub enum Action {
    /// Makes a secret and keeps it.
    GenerateSecret(ResourceId),
    /// Makes a Python environment.
    CreateEnvironment(ResourceId),
    /// Downloads or makes a model file.
    FetchArtifact(ResourceId),
    /// Computes the digest of a model file that is there, and compares it with the one declared.
    VerifyArtifact(ResourceId),
    /// Pulls a container image.
    PullImage(ResourceId),
    /// Has a server give the content that a model has a second name, to go back to it without its registry.
    KeepContent(ResourceId),
    /// Has a server fetch a model, and makes the model of llamero's own from it.
    PullModel(ResourceId),
    /// Has a server load a model, to stay.
    LoadModel(ResourceId),
    /// Writes a rendered file.
    WriteFile(ResourceId),
    /// Writes a unit file.
    WriteUnit(ResourceId),
    /// Has the systemd manager read its unit files.
    ReloadManager,
    /// Has a unit start with the machine.
    EnableUnit(ResourceId),
    /// Starts a server.
    Start(ResourceId),
    /// Stops and starts a server in one call.
    Restart(Managed),
    /// Starts the successor of a server beside it, out of clients' reach, and proves that it offers what it should.
    Rehearse(ResourceId),
    /// Has a server hand its port on to its successor, and end when its last requests have.
    HandOff(Managed),
    /// Stops a server.
    Stop(Managed),
    /// Has a server give its GPU's memory back and stay.
    Sleep(Managed),
    /// Has a server that sleeps serve again.
    Wake(Managed),
    /// Has the gateway answer real requests for a model for a while.
    Try(Trial),
    /// Waits until a server that was started is healthy.
    AwaitHealthy(ResourceId),
    /// Removes a rendered file.
    RemoveFile(Managed),
    /// Has a unit no longer start with the machine, and removes its file.
    RemoveUnit(Managed),
    /// Removes the record of a process.
    RemoveProcess(Managed),
    /// Removes a container.
    RemoveContainer(Managed),
    /// Removes the container whose place a new one has taken.
    RemovePrevious(Managed),
    /// Removes a container image that llamero pulled.
    RemoveImage(Managed),
    /// Removes a Python environment.
    RemoveEnvironment(Managed),
    /// Removes a model file that llamero fetched.
    RemoveArtifact(Managed),
    /// Has a server remove a model that llamero brought.
    RemoveModel(Managed),
}

impl Action {
    /// Returns the resource that the call is about; the manager's reload is about none.
    #[must_use]
    pub const fn on(&self) -> Option<&ResourceId> {
        match self {
            Self::ReloadManager => None,
            Self::GenerateSecret(id)
            | Self::CreateEnvironment(id)
            | Self::FetchArtifact(id)
            | Self::VerifyArtifact(id)
            | Self::PullImage(id)
            | Self::KeepContent(id)
            | Self::PullModel(id)
            | Self::LoadModel(id)
            | Self::WriteFile(id)
            | Self::WriteUnit(id)
            | Self::EnableUnit(id)
            | Self::Start(id)
            | Self::Rehearse(id)
            | Self::AwaitHealthy(id) => Some(id),
            Self::Restart(managed)
            | Self::HandOff(managed)
            | Self::Stop(managed)
            | Self::Sleep(managed)
            | Self::Wake(managed)
            | Self::RemoveFile(managed)
            | Self::RemoveUnit(managed)
            | Self::RemoveProcess(managed)
            | Self::RemoveContainer(managed)
            | Self::RemovePrevious(managed)
            | Self::RemoveImage(managed)
            | Self::RemoveEnvironment(managed)
            | Self::RemoveArtifact(managed)
            | Self::RemoveModel(managed) => Some(managed.id()),
            Self::Try(trial) => Some(&trial.gateway),
        }
    }

    /// Returns the words that say what is done, such as `restart`.
    #[must_use]
    pub const fn words(&self) -> &'static str {
        match self {
            Self::GenerateSecret(_) => "generate",
            Self::CreateEnvironment(_) => "install",
            Self::FetchArtifact(_) => "fetch",
            Self::VerifyArtifact(_) => "verify",
            Self::KeepContent(_) => "keep the content of",
            Self::PullModel(_) | Self::PullImage(_) => "pull",
            Self::LoadModel(_) => "load",
            Self::WriteFile(_) | Self::WriteUnit(_) => "write",
            Self::ReloadManager => "reload the systemd manager",
            Self::EnableUnit(_) => "enable",
            Self::Start(_) => "start",
            Self::Restart(_) => "restart",
            Self::Rehearse(_) => "rehearse",
            Self::HandOff(_) => "hand over",
            Self::Stop(_) => "stop",
            Self::Sleep(_) => "put to sleep",
            Self::Wake(_) => "wake",
            Self::Try(_) => "try",
            Self::AwaitHealthy(_) => "await health of",
            Self::RemoveFile(_)
            | Self::RemoveUnit(_)
            | Self::RemoveProcess(_)
            | Self::RemoveContainer(_)
            | Self::RemoveImage(_)
            | Self::RemoveEnvironment(_)
            | Self::RemoveArtifact(_)
            | Self::RemoveModel(_) => "remove",
            Self::RemovePrevious(_) => "remove the former",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.on()) {
            (Self::Try(trial), _) => write!(f, "try `{}` through {}", trial.model, trial.gateway),
            (_, Some(id)) => write!(f, "{} {id}", self.words()),
            (_, None) => f.write_str(self.words()),
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// When it happens.
    pub phase: Phase,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// The steps of the same phase that must have succeeded before.
    pub after: Vec<StepId>,
}

impl fmt::Display for Step {
    /// Writes one stable line: `#3 restart unit/gateway after #1 #2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.action)?;
        if !self.after.is_empty() {
            f.write_str(" after")?;
        }
        self.after.iter().try_for_each(|id| write!(f, " {id}"))
    }
}
