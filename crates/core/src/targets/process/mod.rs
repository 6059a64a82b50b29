//! llamero's own supervisor: a process for each server, and a record from which it is started.

pub mod lower;

use super::Target;
use crate::live::LiveRun;
use crate::resource::{Kind, ResourceId, Runtime};

/// llamero's supervisor.
#[derive(Debug)]
pub(super) struct Process;

impl Target for Process {
    fn runtime(&self) -> Runtime {
        Runtime::Process
    }

    fn kind(&self) -> Kind {
        Kind::Process
    }

    fn describe(&self, id: &ResourceId) -> String {
        format!("the process {}", id.name)
    }

    fn defines_on_start(&self) -> bool {
        true
    }

    fn enforces_limits(&self) -> bool {
        false
    }

    fn unattended(&self, live: &LiveRun) -> Option<&'static str> {
        (!live.enabled).then_some("its supervisor is gone, so nothing would restart it")
    }
}
