//! Inspects the machine and returns plain values. Never fails: what cannot be inspected is unknown, with the reason.
//!
//! Every system is asked beside the others and has a deadline of its own: a hung Ollama delays no container engine.
//! Changes nothing, and decides nothing.

mod deadline;
mod derived;
mod externals;
mod facts;
mod health;
mod model;
mod observation;
mod offers;
mod pins;
mod plain;
mod ports;
mod rendered;
mod servers;
mod settings;

pub use facts::{directories, facts};
pub use health::health_of;
pub use model::contents;
pub use observation::{Depth, observe};
pub use pins::{Error as PinError, Upstream, pin, upstream};
pub use rendered::{RenderedChange, rendered_change};
pub use servers::inspect;
