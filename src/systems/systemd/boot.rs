//! What starts with the user manager: links in the folders of its targets.
//!
//! `systemctl enable` makes the same links. The manager is not asked to: for each unit it looks through every folder
//! of units again, and answers no call for some milliseconds.

use crate::systems::files;
use llamero_core::targets::systemd::lower::wanted_by;
use std::path::{Path, PathBuf};

/// Has the unit in the folder `units` start with the manager.
pub fn enable(units: &Path, unit: &str) -> Result<(), files::Error> {
    files::link(&link(units, unit), &Path::new("..").join(unit))
}

/// Returns whether a unit starts with the manager.
#[must_use]
pub fn is_enabled(units: &Path, unit: &str) -> bool {
    matches!(files::link_target(&link(units, unit)), Ok(Some(_)))
}

/// Has no target start a unit any more, whoever asked it to.
pub fn disable(units: &Path, unit: &str) -> Result<(), files::Error> {
    let of_target = |name: &String| matches!(name.rsplit_once('.'), Some((_, "wants" | "requires")));
    for folder in files::names(units)?.iter().filter(|name| of_target(name)).map(|name| units.join(name)) {
        if files::remove(&folder.join(unit))? {
            files::remove_empty_folder(&folder);
        }
    }
    Ok(())
}

fn link(units: &Path, unit: &str) -> PathBuf {
    units.join(format!("{}.wants", wanted_by(unit))).join(unit)
}
