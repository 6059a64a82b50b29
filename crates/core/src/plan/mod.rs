//! The planner: compares desired with observed, and produces the changes and the ordered steps that make them.
//!
//! It is pure, and it makes every decision; execution only follows. `compare` finds the differences and their causes,
//! resource by resource; `order` turns the differences into steps that may run in any order that respects `after`.

mod aside;
mod at_once;
mod canary;
mod cause;
mod change;
mod compare;
mod conflict;
mod foresee;
mod group;
mod kept;
mod order;
mod part;
mod past;
mod result;
mod rollout;
mod step;
mod teardown;
pub mod text;
mod unknown;
mod warn;

pub use canary::plan;
pub use cause::{Cause, FieldChange};
pub use change::{Change, Consequence, Disruption, Refusal, RefusalKind, Undetermined, Verb};
pub use foresee::{foresee, foresee_all, foresee_otherwise};
pub use group::Group;
pub use kept::Kept;
pub use part::{Instance, ManagedInstance, PartCall};
pub use past::Past;
pub use result::Plan;
pub use rollout::{CanarySkipped, Rollout, Trial};
pub use step::{Action, Arguments, Phase, Step, StepId};
pub use warn::{Warning, end_at_logout, warnings};
