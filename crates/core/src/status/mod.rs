//! How a stack fares: the wish of the last good generation beside what was seen, as plain data with a stable JSON form.
//!
//! Everything reachable from [`Status`] is part of that form; a change that readers must know of raises [`SCHEMA`].

use crate::live::{LiveRun, Observation, Presence, RunState};
use crate::pace::{FailureRecord, Suspension};
use crate::plan::{Change, Plan, Refusal};
use crate::resolve::Desired;
use crate::resource::{Bytes, Health, ResourceId};
use serde::Serialize;

/// The version of the JSON form.
pub const SCHEMA: u32 = 1;

/// What can be said of a server in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It answers as it should.
    Healthy,
    /// It is on its way.
    Loading,
    /// It runs and does not answer as it should.
    Unhealthy,
    /// It does not run.
    Down,
    /// It could not be seen.
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

/// How one server fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// The resource.
    pub id: ResourceId,
    /// The part of the manifest that it serves.
    pub role: String,
    /// How it fares.
    pub state: Word,
    /// Why, where that is not plain.
    pub why: Option<String>,
    /// Loopback ports that it listens on.
    pub ports: Vec<u16>,
    /// Host memory that it takes.
    pub memory: Option<Bytes>,
    /// How often its runtime started it again by itself.
    pub restarts: u32,
}

/// How a stack fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The version of this form.
    pub schema: u32,
    /// The stack's name.
    pub stack: String,
    /// The last good generation.
    pub generation: Option<u64>,
    /// Who changes the stack right now.
    pub changing: Option<String>,
    /// A generation that waits to be confirmed.
    pub unconfirmed: Option<u64>,
    /// Who holds it as it is.
    pub exclusive: Option<Suspension>,
    /// What failed and has not succeeded since.
    pub quarantined: Vec<FailureRecord>,
    /// Every server.
    pub servers: Vec<Server>,
    /// What is not as the last good generation left it.
    pub drift: Vec<Change>,
    /// What stands in the way of putting it right.
    pub refusals: Vec<Refusal>,
    /// Whether all is well.
    pub well: bool,
}

/// What the records say of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The last good generation.
    pub generation: Option<u64>,
    /// Who changes the stack right now.
    pub changing: Option<String>,
    /// A generation that waits to be confirmed.
    pub unconfirmed: Option<u64>,
    /// Who holds it as it is.
    pub exclusive: Option<Suspension>,
    /// What failed and has not succeeded since.
    pub quarantined: Vec<FailureRecord>,
}

/// Puts together how a stack fares. `plan` is the way from what was seen back to `desired`.
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
    let well = servers.iter().all(|server| server.state == Word::Healthy) && plan.changes.is_empty();
    let well = well && plan.refusals.is_empty();
    let Plan { changes: drift, refusals, .. } = plan;
    let Known { generation, changing, unconfirmed, exclusive, quarantined } = known;
    let stack = desired.stack.clone();
    Status {
        schema: SCHEMA,
        stack,
        generation,
        changing,
        unconfirmed,
        exclusive,
        quarantined,
        servers,
        drift,
        refusals,
        well,
    }
}

fn word(presence: Option<&Presence>, live: Option<&LiveRun>) -> (Word, Option<String>) {
    if let Some(Presence::Unknown(why)) = presence {
        return (Word::Unknown, Some(why.clone()));
    }
    let Some(live) = live else { return (Word::Down, Some("it is not there".to_owned())) };
    match (live.phase, &live.health) {
        (RunState::Stopped, _) => (Word::Down, live.why.clone()),
        (RunState::Failed, _) => (Word::Down, Some(live.why.clone().unwrap_or_else(|| "it failed".to_owned()))),
        (RunState::BackingOff, _) => {
            let why = live.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            (Word::Unhealthy, Some(format!("it ended and waits to be started again{why}")))
        }
        (RunState::Starting, _) => (Word::Loading, Some("it is starting".to_owned())),
        (RunState::Running, Some(Health::Healthy)) => (Word::Healthy, None),
        (RunState::Running, Some(Health::Loading { why })) => (Word::Loading, Some(why.clone())),
        (RunState::Running, Some(Health::Unhealthy { why } | Health::Unreachable { why })) => {
            (Word::Unhealthy, Some(why.clone()))
        }
        (RunState::Running, None) => (Word::Unknown, Some("it was not asked".to_owned())),
    }
}
