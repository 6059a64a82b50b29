//! llamero declares a local AI stack in one manifest and makes the machine match it.
//!
//! The modules stand in the order of the flow, and a module uses only modules listed above it. Up to the line they are
//! values: no input or output, no clock, no environment, no waiting. Below it is the world.

pub mod resource;

pub mod manifest;

pub mod render;

pub mod lock;

pub mod desired;

pub mod observed;

pub mod plan;

pub mod pace;

pub mod status;

// ---- above: values. below: the world ----

pub mod systems;

pub mod observe;

pub mod history;

pub mod apply;

pub mod turn;

pub mod doctor;

pub mod cli;
