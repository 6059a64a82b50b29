//! Differences and their remedies.

use crate::live::Managed;
use crate::plan::change::{Change, Refusal, Undetermined};
use crate::resource::ResourceId;

/// The remedy for one differing resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) enum Remedy {
    /// Create a secret, an environment or an artifact.
    Make,
    /// Compute an artifact's digest.
    Verify,
    /// Load a model.
    Load,
    /// Write a file.
    Write,
    /// Bring a server to its desired state.
    Run(RunRemedy),
    /// Remove it; stop it first if it is up.
    Remove {
        /// The proof that it is managed.
        managed: Managed,
        /// True if it is up.
        up: bool,
    },
}

/// The remedy for a declared server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) struct RunRemedy {
    /// Write its definition.
    pub(in crate::plan) write: bool,
    /// Reload its definition in the runtime.
    pub(in crate::plan) reload: bool,
    /// Enable it at boot.
    pub(in crate::plan) enable: bool,
    /// The action on its process.
    pub(in crate::plan) go: RunAction,
}

impl RunRemedy {
    /// Returns whether its process stays as it is.
    pub(in crate::plan) const fn keeps_process(&self) -> bool {
        matches!(self.go, RunAction::Leave | RunAction::Await)
    }
}

/// An action on a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) enum RunAction {
    /// Nothing.
    Leave,
    /// Wait until it is healthy: it is starting already.
    Await,
    /// Start it.
    Start,
    /// Wake it.
    Wake(Managed),
    /// Hand its socket off to a successor.
    HandOff(Managed),
    /// Stop and start it.
    Restart(Managed),
}

/// A differing resource and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) struct Difference {
    pub(in crate::plan) change: Change,
    /// `None` if the change is only reported.
    pub(in crate::plan) remedy: Option<Remedy>,
}

impl Difference {
    /// Returns the resource.
    pub(in crate::plan) const fn on(&self) -> &ResourceId {
        &self.change.on
    }

    /// Returns whether a server stops because of it.
    pub(in crate::plan) const fn goes_down(&self) -> bool {
        match &self.remedy {
            Some(Remedy::Run(remedy)) => matches!(remedy.go, RunAction::Restart(_)),
            Some(Remedy::Remove { up, .. }) => *up,
            _ => false,
        }
    }

    /// Returns whether a server comes up or is awaited because of it.
    pub(in crate::plan) const fn comes_up(&self) -> bool {
        matches!(&self.remedy, Some(Remedy::Run(remedy)) if !matches!(remedy.go, RunAction::Leave))
    }
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub(in crate::plan) struct Comparison {
    pub(in crate::plan) changes: Vec<Difference>,
    pub(in crate::plan) unchanged: usize,
    pub(in crate::plan) undetermined: Vec<Undetermined>,
    pub(in crate::plan) refusals: Vec<Refusal>,
}
