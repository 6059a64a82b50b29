//! The systemd user manager: a unit file for each server, loaded when the manager reads its files.

pub mod lower;
mod target;

pub(super) use target::Systemd;
