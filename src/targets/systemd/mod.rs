//! The systemd user manager, driven.

mod driver;
mod ended;
mod execute;
mod handoff;
mod instances;
mod observe;
mod parts;
mod rehearse;
mod settings;

pub(super) use driver::Systemd;
