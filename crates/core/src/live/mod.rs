//! An observation: every resource as absent, present or unknown at one moment.
//!
//! Values only. `observe` produces observations, and tests write them by hand. Unknown is never treated as absent:
//! the planner does not create a resource that it cannot see.

mod effective;
mod instances;
mod managed;
mod observation;
mod ownership;
mod presence;
mod remnant;
mod run;
mod unseen;

pub use effective::{Effective, Override};
pub use instances::{InstanceState, Instances};
pub use managed::Managed;
pub use observation::{Observation, PortHolder};
pub use ownership::Ownership;
pub use presence::{Live, LiveFile, Presence};
pub use remnant::Remnant;
pub use run::{LiveRun, RunState};
pub use unseen::{Part, Unseen};
