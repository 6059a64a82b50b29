//! The target axis: one folder for each thing that keeps servers running.
//!
//! This is its pure half. A target states what it can do, so that a plan needs no name of one; how it does it is in the
//! world's half, under the same name.

pub mod docker;
pub mod process;
pub mod systemd;
mod table;
mod target;

pub use table::{TARGETS, of_kind, of_observed, of_runtime, previous};
pub use target::Target;
