//! The plan that leads from the observed machine to the desired state at once.

use super::compare::{Comparison, compare};
use super::conflict::conflicts;
use super::order::order;
use super::past::Past;
use super::result::Plan;
use super::warn::warnings;
use crate::live::Observation;
use crate::resolve::Desired;

/// Plans the way from `observed` to `desired`, whatever route the manifest wants to try first.
pub(super) fn at_once(desired: &Desired, observed: &Observation, past: &Past) -> Plan {
    let Comparison { changes, unchanged, undetermined, mut refusals } = compare(desired, observed, past);
    refusals.extend(conflicts(desired, observed, past, &changes));
    refusals.sort();
    let steps = if refusals.is_empty() { order(desired, observed, past, &changes) } else { Vec::new() };
    Plan {
        stack: desired.stack.clone(),
        changes: changes.into_iter().map(|change| change.change).collect(),
        steps,
        unchanged,
        undetermined,
        refusals,
        warnings: warnings(desired, observed),
        kept: Vec::new(),
        rollout: None,
        first: None,
    }
}
