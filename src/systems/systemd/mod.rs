//! The systemd user manager over D-Bus: services and sockets seen, started, stopped, enabled, and their last lines of
//! journal.
//!
//! It does not say what a state means for a server's health, does not write unit files, and starts nothing by itself.

pub mod boot;
mod bus;
mod client;
mod error;
mod handoff;
mod job;
mod journal;
mod logind;
mod transient;
mod unit;
mod weight;

pub use client::Systemd;
pub use error::Error;
pub use job::{Job, JobResult};
pub use logind::Logind;
pub use transient::Later;
pub use unit::{ActiveState, LoadState, Unit};
pub use weight::{Weight, settings_folder};
