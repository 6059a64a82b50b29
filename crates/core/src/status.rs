//! The status of a stack: the desired state of the last committed generation beside the observation, as plain data
//! with a stable JSON form.
//!
//! Everything reachable from [`Status`] is part of that form; a change that readers must know of raises [`SCHEMA`].

use crate::live::{LiveRun, Observation, Presence, RunState};
use crate::pace::{FailureRecord, Suspension};
use crate::plan::{self, Change, Plan, Refusal, Warning};
use crate::resolve::Desired;
use crate::resource::{Bytes, External, Health, ResourceId};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON form.
pub const SCHEMA: u32 = 1;

/// The state of a server as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It answers as expected.
    Healthy,
    /// It is starting.
    Loading,
    /// It runs, but does not answer as expected.
    Unhealthy,
    /// It does not run.
    Down,
    /// Its state could not be observed.
    Unknown,
}

impl Word {
    /// Returns the word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Loading => "loading",
            Self::Unhealthy => "unhealthy",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// The status of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// The resource.
    pub id: ResourceId,
    /// The part of the manifest that it serves.
    pub role: String,
    /// Its state.
    pub state: Word,
    /// The reason, where it is not obvious.
    pub why: Option<String>,
    /// Loopback ports that it listens on.
    pub ports: Vec<u16>,
    /// Its host memory.
    pub memory: Option<Bytes>,
    /// The number of automatic restarts.
    pub restarts: u32,
}

/// The status of a part that others run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternalPart {
    /// The part of the manifest that it is.
    pub role: String,
    /// Its address.
    pub address: String,
    /// Its state.
    pub state: Word,
    /// The reason, where it is not obvious.
    pub why: Option<String>,
}

/// The status of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The version of this form.
    pub schema: u32,
    /// The stack's name.
    pub stack: String,
    /// The last committed generation.
    pub generation: Option<u64>,
    /// The process that changes the stack right now.
    pub changing: Option<String>,
    /// A generation that waits to be confirmed.
    pub unconfirmed: Option<u64>,
    /// The suspension, if the stack is suspended.
    pub suspended: Option<Suspension>,
    /// The failed attempts that have not succeeded since.
    pub quarantined: Vec<FailureRecord>,
    /// Every server.
    pub servers: Vec<Server>,
    /// Every part that others run.
    pub externals: Vec<ExternalPart>,
    /// Warnings; they are no drift.
    pub warnings: Vec<Warning>,
    /// The drift from the last committed generation.
    pub drift: Vec<Change>,
    /// The conflicts that block its repair.
    pub refusals: Vec<Refusal>,
    /// True if every server and every part that others run is healthy, and nothing has drifted.
    pub healthy: bool,
}

/// The records of a stack, as far as the status shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The last committed generation.
    pub generation: Option<u64>,
    /// The process that changes the stack right now.
    pub changing: Option<String>,
    /// A generation that waits to be confirmed.
    pub unconfirmed: Option<u64>,
    /// The suspension, if the stack is suspended.
    pub suspended: Option<Suspension>,
    /// The failed attempts that have not succeeded since.
    pub quarantined: Vec<FailureRecord>,
}

/// Combines the records, the observation and the plan that leads back to `desired` into a status.
#[must_use]
pub fn status(desired: &Desired, observed: &Observation, plan: Plan, known: Known) -> Status {
    let servers: Vec<Server> = desired
        .runs()
        .map(|(resource, run)| {
            let (state, why) = word(observed.resources.get(&resource.id), observed.run(&resource.id));
            let live = observed.run(&resource.id);
            Server {
                id: resource.id.clone(),
                role: resource.role.clone(),
                state,
                why,
                ports: run.ports.clone(),
                memory: live.and_then(|live| live.memory),
                restarts: live.map_or(0, |live| live.restarts),
            }
        })
        .collect();
    let healthy = servers.iter().all(|server| server.state == Word::Healthy) && plan.changes.is_empty();
    let externals: Vec<ExternalPart> = desired.externals.iter().map(|part| external(part, observed)).collect();
    let healthy = healthy && plan.refusals.is_empty() && externals.iter().all(|part| part.state == Word::Healthy);
    let Plan { changes: drift, refusals, .. } = plan;
    let Known { generation, changing, unconfirmed, suspended, quarantined } = known;
    let stack = desired.stack.clone();
    Status {
        schema: SCHEMA,
        stack,
        generation,
        changing,
        unconfirmed,
        suspended,
        quarantined,
        servers,
        externals,
        warnings: not_asked(desired, observed).chain(plan::end_at_logout(desired, observed)).collect(),
        drift,
        refusals,
        healthy,
    }
}

/// Returns a warning for each reason why parts were not asked, with the parts.
fn not_asked(desired: &Desired, observed: &Observation) -> impl Iterator<Item = Warning> {
    let servers =
        desired.runs().filter_map(|(resource, _)| Some((&resource.role, observed.run(&resource.id)?.health.as_ref()?)));
    let externals = desired.externals.iter();
    let externals = externals.filter_map(|part| Some((&part.role, observed.externals.get(&part.role)?)));
    let mut reasons: BTreeMap<(&String, &Option<String>), Vec<String>> = BTreeMap::new();
    for (role, health) in servers.chain(externals) {
        if let Health::NotAsked { why, hint } = health {
            reasons.entry((why, hint)).or_default().push(format!("`{role}`"));
        }
    }
    let warning = |((why, hint), roles): ((&String, &Option<String>), Vec<String>)| Warning {
        message: format!("{} cannot be asked: {why}", roles.join(", ")),
        hint: hint.clone(),
    };
    reasons.into_iter().map(warning).collect::<Vec<_>>().into_iter()
}

fn external(part: &External, observed: &Observation) -> ExternalPart {
    let (state, why) = match observed.externals.get(&part.role) {
        Some(health) => of_health(health),
        None => (Word::Unknown, Some("it was not asked".to_owned())),
    };
    ExternalPart { role: part.role.clone(), address: part.address.clone(), state, why }
}

fn of_health(health: &Health) -> (Word, Option<String>) {
    match health {
        Health::Healthy => (Word::Healthy, None),
        Health::Loading { why } => (Word::Loading, Some(why.clone())),
        Health::NotAsked { why, .. } => (Word::Unknown, Some(why.clone())),
        Health::Unhealthy { why } | Health::Unreachable { why } => (Word::Unhealthy, Some(why.clone())),
    }
}

fn word(presence: Option<&Presence>, live: Option<&LiveRun>) -> (Word, Option<String>) {
    if let Some(Presence::Unknown(unseen)) = presence {
        return (Word::Unknown, Some(unseen.why.clone()));
    }
    let Some(live) = live else { return (Word::Down, Some("it does not exist".to_owned())) };
    match (live.phase, &live.health) {
        (RunState::Stopped, _) => (Word::Down, live.why.clone()),
        (RunState::Failed, _) => (Word::Down, Some(live.why.clone().unwrap_or_else(|| "it failed".to_owned()))),
        (RunState::BackingOff, _) => {
            let why = live.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            (Word::Unhealthy, Some(format!("it exited and waits to be restarted{why}")))
        }
        (RunState::Starting, _) => (Word::Loading, Some("it is starting".to_owned())),
        (RunState::Running, Some(health)) => of_health(health),
        (RunState::Running, None) => (Word::Unknown, Some("it was not probed".to_owned())),
    }
}
