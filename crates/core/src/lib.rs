//! The values of llamero: what a manifest says, what it means on a machine, what is live there, and the plan between
//! the two.
//!
//! The modules stand in the order of the flow, and a module uses only modules listed above it. Nothing here reads a
//! file, the network, a clock or the environment, and nothing waits: this crate does not depend on one that could.

pub mod resource;

pub mod render;

pub mod engines;

pub mod manifest;

pub mod live;

pub mod targets;

pub mod lockfile;

pub mod resolve;

pub mod plan;

pub mod pace;

pub mod status;
