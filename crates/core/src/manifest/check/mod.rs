//! Checks of relations between the parts of a manifest, and of rules that a single value's type cannot express.
//!
//! Every check adds notes and none stops another. Names are looked up in the tree rather than in the decoded values,
//! so that one mistake does not cause others.

mod all;
mod budgets;
mod checker;
mod clash;
mod cycles;
mod engines;
mod parts;
mod ports;
mod references;
mod secrets;
mod servers;
mod shared;
mod sources;
mod unused;

pub(super) use all::check;
