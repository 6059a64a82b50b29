//! A model of the machine after successful steps: it verifies that a plan leaves nothing to do, and the laws are
//! tested with it.

mod all;
mod content;
mod machine;
mod part;
mod server;

pub use all::{foresee, foresee_all, foresee_otherwise};
