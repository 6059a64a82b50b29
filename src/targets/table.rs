//! Every driver, by the kind of its servers.

use super::driver::Driver;
use super::{docker, process, systemd};
use crate::resource::Kind;
use llamero_core::targets::of_observed;

/// Every driver. A new target is a folder and a line here.
static DRIVERS: [&dyn Driver; 3] = [&systemd::Systemd, &process::Process, &docker::Docker];

/// Returns every driver.
pub fn drivers() -> impl Iterator<Item = &'static dyn Driver> {
    DRIVERS.into_iter()
}

/// Returns the driver through which resources of a kind are observed and changed.
#[must_use]
pub fn driver(kind: Kind) -> Option<&'static dyn Driver> {
    let target = of_observed(kind)?;
    drivers().find(|driver| driver.kind() == target.kind())
}
