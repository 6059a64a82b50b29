//! What llamero's own supervisor can do.

use super::super::target::Target;
use crate::live::LiveRun;
use crate::resource::{Kind, ResourceId, Runtime};

/// llamero's supervisor.
#[derive(Debug)]
pub(in crate::targets) struct Process;

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
