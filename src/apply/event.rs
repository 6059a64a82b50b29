//! What is told while a plan is walked: plain data, for a terminal, a log or a machine that reads.

use crate::plan::Phase;
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
        /// How many steps it has.
        steps: usize,
    },
    /// A step begins.
    Started {
        /// What it does, such as `restart unit/gateway`.
        step: String,
        /// The resource that it is about.
        on: Option<ResourceId>,
    },
    /// A step goes on.
    Progress {
        /// What it does.
        step: String,
        /// Bytes, steps or whatever it counts, so far.
        done: Option<u64>,
        /// All of them, where that is known.
        total: Option<u64>,
        /// What it says of itself.
        note: Option<String>,
    },
    /// A step was done.
    Done {
        /// What it did.
        step: String,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A step failed.
    Failed {
        /// What it was to do.
        step: String,
        /// Why it failed.
        why: String,
    },
    /// Everything runs; now it must go on running.
    Settling {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// All is well, and somebody must say so before the generation is the good one.
    AwaitingConfirmation {
        /// The generation.
        generation: u64,
        /// How long they have, in milliseconds.
        within_ms: u64,
        /// What they type.
        command: String,
    },
    /// The machine goes back to the last good generation.
    GoingBack {
        /// Its number; `None` is a machine without this stack.
        to: Option<u64>,
    },
    /// A generation is the good one now.
    Committed {
        /// Its number.
        generation: u64,
    },
}

/// Who is told.
pub type Report<'a> = dyn Fn(Event) + Send + Sync + 'a;
