//! The weight of a running unit: its part of the processors and disks where they are scarce,
//! systemd.resource-control(5).
//!
//! It lives until the next boot, and is no part of a unit file: then the unit that starts has the usual weight. Where
//! the manager controls none of these, it accepts the weight without an effect.

use super::client::{CALL, Systemd, within};
use super::error::Error;
use std::path::{Path, PathBuf};
use zbus::Variant;

/// A part of the processors and disks, relative to that of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A tenth of what others have.
    Low,
    /// As much as others have.
    Normal,
}

impl Systemd {
    /// Gives a unit a weight until the next boot.
    pub async fn weigh(&self, unit: &str, weight: Weight) -> Result<(), Error> {
        let value: u64 = match weight {
            Weight::Low => 10,
            // The manager's own value for one that is not set.
            Weight::Normal => u64::MAX,
        };
        let settings = vec![("CPUWeight", Variant::from(value)), ("IOWeight", Variant::from(value))];
        let call = self.manager.set_unit_properties(unit, true, settings);
        within(CALL, &format!("set the weight of `{unit}`"), call).await
    }
}

/// Returns the folder with the settings that a unit was given until the next boot; `runtime` is llamero's own folder
/// beside it.
#[must_use]
pub fn settings_folder(runtime: &Path, unit: &str) -> PathBuf {
    runtime.with_file_name("systemd").join("user.control").join(format!("{unit}.d"))
}
