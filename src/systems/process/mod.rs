//! The process runtime: servers kept by llamero's own supervisor, for machines without systemd.
//!
//! Every server has a folder that only its user can enter: `launch.json` says what to run, `state.json` what its
//! supervisor last did, and `log` holds what the server printed. The supervisor is a process of its own
//! ([`supervise()`]), so that a server outlives the llamero that started it; and should the supervisor be killed, the
//! server is still known by its recorded number and start time, and all that it left behind by a mark in the
//! environment.
//!
//! Whether a server should run is not decided here, and neither is whether it is healthy.

mod environment;
mod error;
mod log;
mod processes;
mod record;
mod supervise;

pub(super) use environment::inherited;
pub use error::Error;
pub use llamero_core::targets::process::lower::Launch;
pub use processes::{ProcessState, Processes};
pub use record::{Exit, Phase};
pub use supervise::supervise;
