//! Warnings: what users should know and no step of a plan changes.

use crate::live::Observation;
use crate::resolve::Desired;
use crate::targets;
use serde::Serialize;

/// Something that users should know, and that blocks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The message.
    pub message: String,
    /// A remedy, if there is one.
    pub hint: Option<String>,
}

/// Returns the warnings about a stack on this machine.
#[must_use]
pub fn warnings(desired: &Desired, observed: &Observation) -> Vec<Warning> {
    let external = desired.externals.iter().filter_map(|external| {
        let health = observed.externals.get(&external.role).filter(|health| !health.is_healthy())?;
        let message = format!("`{}` at {} does not answer as expected: {health}", external.role, external.address);
        Some(Warning { message, hint: None })
    });
    external.chain(end_at_logout(desired, observed)).collect()
}

/// Returns the warning about servers that all end when their user logs out.
#[must_use]
pub fn end_at_logout(desired: &Desired, observed: &Observation) -> Option<Warning> {
    let ends = |kind| observed.end_at_logout.contains(&kind);
    let mut kinds = desired.runs().map(|(resource, _)| resource.id.kind).filter(|kind| ends(*kind));
    let target = targets::of_kind(kinds.next()?)?;
    let (message, hint) = target.at_logout()?;
    Some(Warning { message: message.to_owned(), hint: Some(hint.to_owned()) })
}
