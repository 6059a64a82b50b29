//! Events of an execution: plain data, for a terminal, a log or another program.

use crate::plan::{Group, Phase};
use crate::resource::ResourceId;
use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A phase begins.
    Phase {
        /// Which.
        phase: Phase,
        /// The number of its steps.
        steps: usize,
        /// Its steps as a user sees them.
        #[serde(skip)]
        groups: Vec<Group>,
    },
    /// A step begins.
    Started {
        /// Its action, such as `restart unit/gateway`.
        step: String,
        /// The resource that it is about.
        on: Option<ResourceId>,
    },
    /// A step goes on.
    Progress {
        /// Its action.
        step: String,
        /// Bytes, steps or whatever it counts, so far.
        done: Option<u64>,
        /// All of them, where that is known.
        total: Option<u64>,
        /// Its progress message.
        note: Option<String>,
    },
    /// A step was done.
    Done {
        /// Its action.
        step: String,
        /// Its duration, in milliseconds.
        took_ms: u64,
    },
    /// A step failed.
    Failed {
        /// Its action.
        step: String,
        /// The error.
        why: String,
    },
    /// A server that the plan leaves as it is ended meanwhile and was started again; it is awaited.
    StartedAgain {
        /// The server.
        on: ResourceId,
    },
    /// Every server is healthy; now they must stay healthy.
    Settling {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Every server is healthy; the generation is committed once it is confirmed.
    AwaitingConfirmation {
        /// The generation.
        generation: u64,
        /// The time to confirm, in milliseconds.
        within_ms: u64,
        /// The command that confirms.
        command: String,
    },
    /// The machine is rolled back to the last committed generation.
    RollingBack {
        /// Its number; `None` is a machine without this stack.
        to: Option<u64>,
    },
    /// A generation is committed.
    Committed {
        /// Its number.
        generation: u64,
    },
}

/// A receiver of events.
pub type Report<'a> = dyn Fn(Event) + Send + Sync + 'a;
