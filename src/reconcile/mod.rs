//! One reconcile pass: observe, plan, execute, gate, commit or roll back, with records.
//!
//! The only module that combines the parts of the flow. Apply, rollback and down are the same pass with another
//! desired state.

mod before;
mod confirm;
mod deadman;
mod ending;
mod error;
mod fire;
mod generated;
mod guard;
mod inspect;
mod load;
mod notice;
mod pass;
mod pins;
mod prepare;
mod quarantine;
mod record;
mod request;
mod rollback;
mod saved_plan;
mod stacks;
mod teardown;
mod transaction;
mod unknown;
mod unreadable;
mod world;

pub use confirm::{Confirmation, confirm};
pub use deadman::{FIRE_AFTER, disarm};
pub use ending::Finished;
pub use error::Error;
pub use fire::{Fired, fire};
pub use guard::{Coverage, Guard, Staleness};
pub use inspect::{observation, plan_against, rendered_changes, stack_status};
pub use load::{LoadedManifest, default_path};
pub use notice::{Notice, Notify};
pub use pass::run_pass;
pub use pins::{LockFileUpdate, PinChange, SourceReport, SourceState, lock, outdated, update};
pub use prepare::{Options, Prepared, prepare};
pub use quarantine::{attempt, environment_digest};
pub use request::{Applied, Pending, Request, Source, Verdict, blocked, check_coverage, open};
pub use saved_plan::SavedPlan;
pub use stacks::StackSelector;
pub use world::{Stack, Switch, World};
