//! The table of targets, and the ways to find one.

use super::docker::Docker;
use super::process::Process;
use super::systemd::Systemd;
use super::target::Target;
use crate::resource::{Kind, ResourceId, Runtime};

/// Every target. A new one is a folder and a line here.
pub const TARGETS: [&dyn Target; 3] = [&Systemd, &Process, &Docker];

/// Returns the target of servers of a kind; other kinds have none.
#[must_use]
pub fn of_kind(kind: Kind) -> Option<&'static dyn Target> {
    TARGETS.into_iter().find(|target| target.kind() == kind)
}

/// Returns the target through which resources of a kind are observed and changed: its servers, and what it keeps for
/// them.
#[must_use]
pub fn of_observed(kind: Kind) -> Option<&'static dyn Target> {
    TARGETS.into_iter().find(|target| target.observes(kind))
}

/// Returns the target of a runtime.
#[must_use]
pub fn of_runtime(runtime: Runtime) -> Option<&'static dyn Target> {
    TARGETS.into_iter().find(|target| target.runtime() == runtime)
}

/// Returns the name under which a server stands aside while another takes its place, where its target has such a name.
#[must_use]
pub fn previous(id: &ResourceId) -> Option<ResourceId> {
    of_kind(id.kind)?.previous(id)
}

#[cfg(test)]
mod tests {
    use super::{Kind, ResourceId, TARGETS, of_kind, of_runtime, previous};
    use std::collections::BTreeSet;

    #[test]
    fn each_kind_that_runs_has_one_target() {
        let kinds: BTreeSet<Kind> = TARGETS.iter().map(|target| target.kind()).collect();
        let running: BTreeSet<Kind> = Kind::ALL.into_iter().filter(|kind| kind.runs()).collect();
        assert_eq!((kinds.len(), &kinds), (TARGETS.len(), &running));
        for target in TARGETS {
            let by_runtime = of_runtime(target.runtime()).expect("a target");
            assert_eq!(by_runtime.kind(), target.kind());
            assert_eq!(of_kind(target.kind()).expect("a target").runtime(), target.runtime());
        }
        assert!(of_kind(Kind::File).is_none());
    }

    #[test]
    fn a_container_stands_aside_under_a_name_of_its_own() {
        let id = ResourceId::new(Kind::Container, "home-cache");
        assert_eq!(previous(&id), Some(ResourceId::new(Kind::Container, "home-cache.previous")));
        assert_eq!(previous(&ResourceId::new(Kind::Unit, "home-cache")), None);
    }
}
