//! The systemd user manager: a unit file for each server, loaded when the manager reads its files.

pub mod lower;

use super::Target;
use crate::render::quote::Unrepresentable;
use crate::resource::{Kind, Resource, ResourceId, Runtime};

/// The systemd user manager.
#[derive(Debug)]
pub(super) struct Systemd;

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

    fn unseen_hint(&self, why: &str) -> Option<&'static str> {
        why.contains("user manager").then_some(
            "log in as the user whose manager it is (`loginctl enable-linger USER` keeps it), or say `runtime: process` \
             in the manifest",
        )
    }

    fn definition(&self, stack: &str, resource: &Resource) -> Result<Option<String>, Unrepresentable> {
        let hands_off = resource.run().is_some_and(|run| run.socket_handoff);
        // All instances of a server differ in their numbers alone.
        if hands_off { lower::instance(stack, resource, 1) } else { lower::unit(stack, resource) }.map(Some)
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
