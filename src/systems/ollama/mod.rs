//! Ollama's model API: the models present and loaded, and the commands that change both.
//!
//! `server` has queries and short commands, `pull` has the long one, and `registry` is the remote end that Ollama pulls
//! from. Which models there should be is decided elsewhere, and no function here runs a completion.

mod answer;
mod call;
mod error;
mod lines;
mod models;
mod pull;
mod registry;
mod server;

pub use error::{Error, Fault};
pub use models::{Derived, Description, KeepAlive, Load, Loaded, Tag};
pub use pull::Pull;
pub use registry::{Layer, RemoteManifest, manifest, missing};
pub use server::Ollama;
