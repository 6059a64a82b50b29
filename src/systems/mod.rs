//! Adapters, one file per outside system. Each translates between plain values and one system's interface, and
//! decides nothing: no plan, no order, no policy.
//!
//! Every call that leaves this process has its deadline written next to it.

pub mod artifacts;
pub mod clock;
pub mod detached;
pub mod docker;
pub mod downloads;
pub mod exclusive;
pub mod external;
mod failure;
mod failure_kind;
pub mod files;
pub mod gpu;
mod handle;
pub mod health;
mod hint;
pub mod http;
pub mod listener;
pub mod ollama;
pub mod openai;
pub mod output;
pub mod owned;
pub mod ports;
pub mod proc;
pub mod process;
pub mod program;
pub mod pulled;
pub mod python;
pub mod readings;
mod resp;
mod retry;
pub mod sealed;
pub mod secrets;
pub mod sleep;
pub mod start_clock;
pub mod store;
pub mod systemd;
mod unseen;
mod world;

pub use failure::{Failure, with_causes};
pub use failure_kind::FailureKind;
pub use handle::{Connection, Handle};
pub use hint::Hint;
pub use retry::Retry;
pub use unseen::{unknown, unseen};
pub use world::{RecordFolders, Systems};
