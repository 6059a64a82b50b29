//! All steps, phase by phase.

use super::basis::Basis;
use super::prune::prune;
use super::stage::stage;
use super::steps::Steps;
use super::switch::switch;
use crate::live::Observation;
use crate::plan::compare::Difference;
use crate::plan::past::Past;
use crate::plan::step::Step;
use crate::resolve::Desired;

/// Returns the steps that make the changes.
pub(in crate::plan) fn order(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    changes: &[Difference],
) -> Vec<Step> {
    let basis = Basis::new(desired, observed, past, changes);
    let mut steps = Steps::new(&basis);
    stage(&basis, &mut steps);
    switch(&basis, &mut steps);
    prune(&basis, &mut steps);
    steps.into_list()
}
