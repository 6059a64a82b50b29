//! The records of one stack on disk: the stack lock, the generations, and which of them is committed.
//!
//! ```text
//! $XDG_STATE_HOME/llamero/<stack>/
//!   lock                      the process that changes the stack right now
//!   generations/<n>/desired   the revision; written once, before anything changes
//!   generations/<n>/outcome   the outcome; missing while it is being applied, or after a crash
//!   generations/<n>/recovered resources recovered from a damaged revision
//!   generations/<n>/deadman   its dead-man's switch while it is applied, and related records
//!   quarantine                the failure records of manifests
//!   suspended                 the suspension of the stack
//!   processes/<name>/         the process runtime's records
//! ```
//!
//! Every file is sealed with its digest and written atomically. A damaged one is an error that names it, and is never
//! treated as absent. This module makes no decisions about a generation.

mod deadman;
mod error;
mod generation;
mod holder;
mod memory;
mod quarantine;
mod records;
mod stack_lock;

pub use deadman::{Before, Carrier, Confirmed, DeadMan, Passed};
pub use error::Error;
pub use generation::{Ending, Generation, Outcome, RecordedChange, Revision, StepOutcome, StepResult};
pub use holder::LockHolder;
pub use memory::Memory;
pub use records::History;
pub use stack_lock::StackLock;
