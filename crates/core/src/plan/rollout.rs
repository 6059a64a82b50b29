//! The start of a canary rollout: which route changes first, and how it is tried.

use crate::manifest::Mode;
use crate::resource::{ResourceId, Seconds};
use serde::Serialize;

/// The test requests that must succeed before the other routes change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Trial {
    /// The gateway.
    pub gateway: ResourceId,
    /// The model.
    pub model: String,
    /// The kind of request.
    pub mode: Mode,
    /// The duration of the trial.
    pub duration: Seconds,
}

/// A reason why the routes change without a requested trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanarySkipped {
    /// The canary's route does not change.
    Same,
    /// The previous routes are unknown.
    Unknown,
    /// The gateway is unhealthy with the previous routes.
    Unhealthy,
}

/// The outcome of planning a canary rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "begins")]
pub enum Rollout {
    /// The canary's route changes first.
    WithOne {
        /// The trial.
        trial: Trial,
        /// If the gateway changes again afterwards: true if it restarts for that.
        again: Option<bool>,
    },
    /// All routes change at once.
    WithAll {
        /// The canary.
        model: String,
        /// The reason.
        why: CanarySkipped,
    },
}
