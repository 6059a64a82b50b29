//! Steps: one call to one system each, with the steps it waits for.

use super::part::PartCall;
use super::rollout::Trial;
use crate::live::{Managed, Remnant};
use crate::resource::{Kind, Prerequisite, Resource, ResourceId, Seconds, SleepCalls, Spec};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A step's number within its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StepId(pub usize);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0 + 1)
    }
}

/// The phase of a step. Every step of one phase ends before the first of the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Changes no running server: downloads, environments.
    Stage,
    /// Changes the route of one model only, and tries it.
    Canary,
    /// Changes running servers. It ends with the health gate.
    Switch,
    /// Removes undeclared resources, after the new generation is committed.
    Prune,
    /// Removes records, once nothing of the stack is left.
    Purge,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stage => "stage",
            Self::Canary => "canary",
            Self::Switch => "switch",
            Self::Prune => "prune",
            Self::Purge => "purge",
        })
    }
}

/// One call on one system. What it takes beyond the desired state is in the step's [`Arguments`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action", content = "of")]
pub enum Action {
    /// Generates a secret.
    GenerateSecret(ResourceId),
    /// Creates a Python environment.
    CreateEnvironment(ResourceId),
    /// Downloads or generates a model file.
    FetchArtifact(ResourceId),
    /// Computes the digest of an existing model file, and compares it with the declared one.
    VerifyArtifact(ResourceId),
    /// Pulls a container image.
    PullImage(ResourceId),
    /// Creates something of the host that a server needs.
    Prepare {
        /// The kind of the servers that need it.
        kind: Kind,
        /// The created thing.
        what: Prerequisite,
    },
    /// Has a server give the content of a model a second name, so that a rollback needs no registry.
    KeepContent(ResourceId),
    /// Pulls a model through its server, and derives llamero's own model from it.
    PullModel(ResourceId),
    /// Loads a model for good.
    LoadModel(ResourceId),
    /// Writes a rendered file.
    WriteFile(ResourceId),
    /// Writes a server's definition, which a manager loads.
    Define(ResourceId),
    /// Has the manager load the definitions of its servers.
    ReloadManager(Kind),
    /// Has a server start with the machine.
    Enable(ResourceId),
    /// Gives a server that does not run another name, under which it stands aside while another takes its place.
    SetAside(Managed),
    /// Removes a server that was never verified, so that another can take its place.
    Discard(Managed),
    /// Creates a server that cannot be changed once it is there.
    Create(ResourceId),
    /// Gives a server that stands aside its own name back.
    Restore {
        /// The server.
        server: ResourceId,
        /// The resource that is set aside.
        previous: Managed,
    },
    /// Starts a server.
    Start(ResourceId),
    /// Restarts a server in one call.
    Restart(Managed),
    /// A call on one part of a server that hands its socket off.
    Part(PartCall),
    /// Stops a server.
    Stop(Managed),
    /// Puts a server to sleep, which releases its GPU's memory.
    Sleep(Managed),
    /// Wakes a sleeping server.
    Wake(Managed),
    /// Sends test requests for a model through the gateway for a while.
    Try(Trial),
    /// Waits until a started server is healthy.
    AwaitHealthy(ResourceId),
    /// Removes a rendered file.
    RemoveFile(Managed),
    /// Removes a server that does not run, with its definition.
    RemoveServer(Managed),
    /// Removes what stands aside since another took its place.
    RemovePrevious(Managed),
    /// Removes what stood aside before, and was left behind.
    RemoveAside {
        /// The server whose place it had.
        server: ResourceId,
        /// The resource that is set aside.
        previous: Managed,
    },
    /// Removes a network of the stack.
    RemoveNetwork {
        /// The kind of the servers that were in it.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Removes a container image that llamero pulled.
    RemoveImage(Managed),
    /// Removes a Python environment.
    RemoveEnvironment(Managed),
    /// Removes a model file that llamero fetched.
    RemoveArtifact(Managed),
    /// Removes a model from a server.
    RemoveModel(Managed),
    /// Removes what is of no use without the stack.
    Purge(Remnant),
}

impl Action {
    /// Returns the resource concerned, if it is about one.
    #[must_use]
    pub const fn on(&self) -> Option<&ResourceId> {
        match self {
            Self::ReloadManager(_) | Self::Prepare { .. } | Self::RemoveNetwork { .. } | Self::Purge(_) => None,
            Self::GenerateSecret(id)
            | Self::CreateEnvironment(id)
            | Self::FetchArtifact(id)
            | Self::VerifyArtifact(id)
            | Self::PullImage(id)
            | Self::KeepContent(id)
            | Self::PullModel(id)
            | Self::LoadModel(id)
            | Self::WriteFile(id)
            | Self::Define(id)
            | Self::Enable(id)
            | Self::Create(id)
            | Self::Restore { server: id, .. }
            | Self::RemoveAside { server: id, .. }
            | Self::Start(id)
            | Self::AwaitHealthy(id) => Some(id),
            Self::Restart(managed)
            | Self::Stop(managed)
            | Self::SetAside(managed)
            | Self::Discard(managed)
            | Self::Sleep(managed)
            | Self::Wake(managed)
            | Self::RemoveFile(managed)
            | Self::RemoveServer(managed)
            | Self::RemovePrevious(managed)
            | Self::RemoveImage(managed)
            | Self::RemoveEnvironment(managed)
            | Self::RemoveArtifact(managed)
            | Self::RemoveModel(managed) => Some(managed.id()),
            Self::Try(trial) => Some(&trial.gateway),
            Self::Part(call) => Some(call.server()),
        }
    }

    /// Returns the kind of the servers whose target makes the call, where a target does.
    #[must_use]
    pub fn target(&self) -> Option<Kind> {
        match self {
            Self::ReloadManager(kind) | Self::Prepare { kind, .. } | Self::RemoveNetwork { kind, .. } => Some(*kind),
            Self::Sleep(_) | Self::Wake(_) | Self::Try(_) | Self::AwaitHealthy(_) => None,
            _ => self.on().map(|id| id.kind).filter(|kind| crate::targets::of_observed(*kind).is_some()),
        }
    }

    /// Returns what is done in its place where the call fails. To sleep is an offer of the server: one that does not,
    /// or does not wake, is stopped.
    pub(super) fn otherwise(&self) -> Vec<Self> {
        match self {
            Self::Sleep(managed) => vec![Self::Stop(managed.clone())],
            Self::Wake(managed) => vec![Self::Stop(managed.clone()), Self::Start(managed.id().clone())],
            _ => Vec::new(),
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
            Self::WriteFile(_) | Self::Define(_) => "write",
            Self::ReloadManager(_) => "reload unit files",
            Self::Enable(_) => "enable",
            Self::SetAside(_) => "set aside",
            Self::Discard(_) => "discard",
            Self::Prepare { .. } | Self::Create(_) => "create",
            Self::Restore { .. } => "restore",
            Self::Start(_) => "start",
            Self::Restart(_) => "restart",
            Self::Part(call) => call.words().0,
            Self::Stop(_) => "stop",
            Self::Sleep(_) => "put to sleep",
            Self::Wake(_) => "wake",
            Self::Try(_) => "try",
            Self::AwaitHealthy(_) => "await health of",
            Self::RemoveFile(_)
            | Self::RemoveServer(_)
            | Self::RemoveNetwork { .. }
            | Self::RemoveImage(_)
            | Self::RemoveEnvironment(_)
            | Self::RemoveArtifact(_)
            | Self::RemoveModel(_)
            | Self::Purge(_) => "remove",
            Self::RemovePrevious(_) | Self::RemoveAside { .. } => "remove the previous",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.on()) {
            (Self::Try(trial), _) => write!(f, "try `{}` through {}", trial.model, trial.gateway),
            (Self::Prepare { what, .. }, _) => write!(f, "create {what}"),
            (Self::Part(call), _) => write!(f, "{call}"),
            (Self::Purge(remnant), _) => write!(f, "remove {remnant}"),
            (Self::RemoveNetwork { name, .. }, _) => write!(f, "remove network {name}"),
            (_, Some(id)) => write!(f, "{} {id}", self.words()),
            (_, None) => f.write_str(self.words()),
        }
    }
}

/// Values that a call takes beyond the desired state: those of what is there now, or was made by an earlier generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Arguments {
    /// The time for a server to stop before it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Seconds>,
    /// The path of what is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The name that something gets, or under which it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The uv that makes an environment; where there is none, the interpreter's own venv and pip make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uv: Option<PathBuf>,
    /// The calls by which a server sleeps and wakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepCalls>,
    /// The time for a server to wake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_timeout: Option<Seconds>,
}

impl Arguments {
    /// Returns what calls on a resource take once it is no longer declared.
    pub(super) fn of(resource: &Resource) -> Self {
        let none = Self::default();
        match &resource.spec {
            Spec::Run(run) => Self {
                stop_timeout: Some(run.stop_timeout),
                sleep: run.sleep.clone(),
                wake_timeout: run.sleep.is_some().then_some(run.timeout),
                ..none
            },
            Spec::File(file) => Self { path: Some(file.path.clone()), ..none },
            Spec::Environment(environment) => Self { path: Some(environment.path.clone()), ..none },
            Spec::Artifact(artifact) => Self { path: Some(artifact.path.clone()), ..none },
            Spec::Image(image) => Self { name: Some(image.name.to_string()), ..none },
            Spec::Secret(_) | Spec::Model(_) => none,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// Its phase.
    pub phase: Phase,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
    /// The arguments of the call beyond the desired state.
    #[serde(rename = "with", skip_serializing_if = "Arguments::is_empty")]
    pub arguments: Arguments,
    /// The fallback, in order, where the call fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Action>,
    /// The steps of the same phase that must have succeeded before.
    pub after: Vec<StepId>,
}

impl fmt::Display for Step {
    /// Writes one stable line: `#3 restart unit/gateway after #1 #2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.action)?;
        for (index, action) in self.otherwise.iter().enumerate() {
            write!(f, ", {} {action}", if index == 0 { "else" } else { "then" })?;
        }
        if !self.after.is_empty() {
            f.write_str(" after")?;
        }
        self.after.iter().try_for_each(|id| write!(f, " {id}"))
    }
}
