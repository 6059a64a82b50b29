//! Conflicts with what could not be inspected: it may be there or not, so nothing is planned for it.

use crate::live::{Observation, Part, Unseen};
use crate::plan::change::{Refusal, RefusalKind};
use crate::resolve::Desired;
use crate::resource::{Kind, ResourceId};
use std::collections::BTreeSet;

/// Returns the conflict with a resource that could not be inspected.
pub(super) fn blind(id: &ResourceId, unseen: &Unseen) -> Refusal {
    let message = format!("cannot see {id}: {unseen}");
    Refusal { on: id.clone(), kind: RefusalKind::Unseen, message, hint: unseen.hint.clone() }
}

/// Returns the conflicts with parts that could not be inspected, where no resource of their kind says so already. What
/// is in them and not declared would be pruned, and what declared servers need would be created.
pub(super) fn blind_parts(desired: &Desired, observed: &Observation, refusals: &[Refusal]) -> Vec<Refusal> {
    let unseen = refusals.iter().filter(|refusal| refusal.kind == RefusalKind::Unseen);
    let known: BTreeSet<Kind> = unseen.map(|refusal| refusal.on.kind).collect();
    let matters = |part: &Part| match part {
        Part::Servers(_) | Part::Networks(_) => desired.policy.prune,
        Part::Prerequisite(..) => true,
    };
    let blocking = observed.unseen.iter().filter(|(part, _)| matters(part) && !known.contains(&part.kind()));
    let refusal = |(part, unseen): &(Part, Unseen)| {
        let on = ResourceId::new(part.kind(), desired.stack.as_str());
        let message = format!("cannot see {part}: {unseen}");
        Refusal { on, kind: RefusalKind::Unseen, message, hint: unseen.hint.clone() }
    };
    blocking.map(refusal).collect()
}
