//! What the systemd user manager can do.

use super::super::target::Target;
use super::lower;
use crate::render::quote::Unrepresentable;
use crate::resource::{Kind, Resource, ResourceId, Runtime};
use std::path::Path;

/// The systemd user manager.
#[derive(Debug)]
pub(in crate::targets) struct Systemd;

impl Target for Systemd {
    fn runtime(&self) -> Runtime {
        Runtime::Systemd
    }

    fn kind(&self) -> Kind {
        Kind::Unit
    }

    fn describe(&self, id: &ResourceId) -> String {
        format!("the unit {}.service", id.name)
    }

    fn definition(&self, stack: &str, resource: &Resource) -> Result<Option<String>, Unrepresentable> {
        let hands_off = resource.run().is_some_and(|run| run.socket_handoff);
        // All instances of a server differ in their numbers alone.
        if hands_off { lower::instance(stack, resource, 1) } else { lower::unit(stack, resource) }.map(Some)
    }

    fn override_remedy(&self, id: &ResourceId, path: &Path) -> Option<String> {
        let unit = path.parent()?.file_name()?.to_str()?.strip_suffix(".d")?;
        // Folders for several units, such as `home-.service.d`, and those of the administrator: no command reverts
        // them.
        let own = unit.starts_with(&id.name) && !unit.ends_with("-.service");
        let users = !["/etc/", "/usr/", "/run/systemd/"].iter().any(|folder| path.starts_with(folder));
        Some(if own && users {
            format!("`systemctl --user revert {unit} && systemctl --user restart {unit}` undoes it")
        } else {
            "remove that file, or declare the same in the manifest".to_owned()
        })
    }

    fn at_logout(&self) -> Option<(&'static str, &'static str)> {
        Some((
            "lingering is off: systemd stops the units of this stack when you log out, and starts them no sooner than \
             you log in",
            "`loginctl enable-linger` keeps them running",
        ))
    }

    fn loads_definitions(&self) -> bool {
        true
    }

    fn restarts_in_one_call(&self) -> bool {
        true
    }

    fn enables(&self) -> bool {
        true
    }
}
