//! llamero's own supervisor: a process for each server, and a record from which it is started.

pub mod lower;
mod target;

pub(super) use target::Process;
