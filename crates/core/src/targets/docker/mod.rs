//! A container engine: Docker, or Podman in its place.
//!
//! A container cannot be changed. Another takes its place, and the previous one stands aside, stopped and under a name
//! of its own, until the new one is verified.

pub mod lower;
mod target;

pub(super) use target::Docker;
