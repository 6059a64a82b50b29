//! The target axis, its world half: one folder for each thing that keeps servers running, with the same verbs. What a
//! target can do is stated by its pure half, under the same name.
//!
//! A driver makes the calls that a plan names, and decides nothing.

mod docker;
mod driver;
mod process;
mod systemd;
mod table;

pub use driver::{Call, Driver, Findings, Inquiry, Progress, Scope};
pub use llamero_core::targets::systemd::lower as unit;
pub use llamero_core::targets::{TARGETS, Target, of_kind, of_observed, of_runtime, previous};
pub use table::{driver, drivers};
