//! One declared resource, and what is known around it.

use crate::live::Observation;
use crate::plan::past::Past;
use crate::resolve::Desired;
use crate::resource::Resource;

/// A declared resource to be compared, with the states that its comparison looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    /// The desired state that declares it.
    pub(super) desired: &'a Desired,
    /// The observation of the machine.
    pub(super) observed: &'a Observation,
    /// The records of earlier generations.
    pub(super) past: &'a Past,
    /// The resource.
    pub(super) resource: &'a Resource,
}
