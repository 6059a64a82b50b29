//! Checks of the records that llamero keeps about a stack: findings with stable codes, and their repair.
//!
//! Repair deletes nothing: a damaged file is renamed. No server is started, stopped or queried; where a revision was
//! lost, the container engine is queried for containers that carry the stack's ownership marker.

mod check;
mod error;
mod finding;
mod recovered;
mod repair;

pub use check::check;
pub use error::Error;
pub use finding::{Code, Finding};
pub use repair::{Repair, Repaired, repair};
