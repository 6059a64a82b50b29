//! llamero's own supervisor, driven.

mod driver;
mod execute;
mod observe;

pub(super) use driver::Process;
