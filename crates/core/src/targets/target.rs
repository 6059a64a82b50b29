//! What a target states of itself, so that a plan needs no name of one.

use crate::live::LiveRun;
use crate::render::quote::Unrepresentable;
use crate::resource::{Kind, Prerequisite, Resource, ResourceId, Run, Runtime};
use std::fmt;
use std::path::Path;

/// The properties of a target that decide which steps a difference needs.
pub trait Target: fmt::Debug + Sync {
    /// Returns the runtime that selects it.
    fn runtime(&self) -> Runtime;

    /// Returns the kind of its servers.
    fn kind(&self) -> Kind;

    /// Returns the words for one of its servers, such as `the unit home-cache.service`.
    fn describe(&self, id: &ResourceId) -> String;

    /// Returns whether resources of a kind are observed through it.
    fn observes(&self, kind: Kind) -> bool {
        kind == self.kind()
    }

    /// Returns the definition of a server, where it is a text; an error says what the target cannot express.
    fn definition(&self, _stack: &str, _resource: &Resource) -> Result<Option<String>, Unrepresentable> {
        Ok(None)
    }

    /// Returns whether a server's definition is written before the server starts, and loaded by a manager.
    fn loads_definitions(&self) -> bool {
        false
    }

    /// Returns whether a start also defines the server.
    fn defines_on_start(&self) -> bool {
        false
    }

    /// Returns whether a server is stopped and started in one call.
    fn restarts_in_one_call(&self) -> bool {
        false
    }

    /// Returns whether servers start with the machine only where that is enabled.
    fn enables(&self) -> bool {
        false
    }

    /// Returns whether limits of memory are in force as declared.
    fn enforces_limits(&self) -> bool {
        true
    }

    /// Returns whether it is the target itself that listens on the ports of its servers.
    fn listens_for_servers(&self) -> bool {
        false
    }

    /// Returns whether a server that starts again has its declared limits, whatever was changed since.
    fn resets_limits(&self) -> bool {
        false
    }

    /// Returns how users remove a file that changes a server's definition from outside.
    fn override_remedy(&self, _id: &ResourceId, _path: &Path) -> Option<String> {
        None
    }

    /// Returns the warning and the remedy where all its servers end when their user logs out, if they can.
    fn at_logout(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Returns why a server that runs must start again though it is as declared.
    fn unattended(&self, _live: &LiveRun) -> Option<&'static str> {
        None
    }

    /// Returns the name under which a server stands aside while another takes its place, where one cannot be changed.
    fn previous(&self, _id: &ResourceId) -> Option<ResourceId> {
        None
    }

    /// Returns what must be there before a server can be created.
    fn prerequisites(&self, _run: &Run) -> Vec<Prerequisite> {
        Vec::new()
    }
}
