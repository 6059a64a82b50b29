//! llamero declares a local AI stack in one manifest and makes the machine match it.
//!
//! Values live in `llamero-core`, which this crate passes on; here is the world: systems, records, execution and the
//! command line. The modules stand in the order of the flow, and a module uses only modules listed above it.

pub use llamero_core::{engines, live, lockfile, manifest, pace, plan, render, resolve, resource, status};

pub mod systems;

pub mod targets;

pub mod observe;

pub mod history;

pub mod apply;

pub mod reconcile;

pub mod doctor;

pub mod cli;
