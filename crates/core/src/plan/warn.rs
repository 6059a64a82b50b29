//! Warnings: what users should know and no step of a plan changes.

use crate::live::Observation;
use crate::resolve::Desired;
use crate::resource::Health;
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
        let (role, address) = (&external.role, &external.address);
        match observed.externals.get(role)? {
            Health::Healthy => None,
            // A secret of the manifest that cannot be read is reported where the manifest refers to it.
            Health::NotAsked { .. } if external.secret().is_some_and(|it| desired.unknown.contains_key(it)) => None,
            Health::NotAsked { why, hint } => {
                Some(Warning { message: format!("`{role}` at {address} was not asked: {why}"), hint: hint.clone() })
            }
            health => {
                let message = format!("`{role}` at {address} does not answer as expected: {health}");
                Some(Warning { message, hint: None })
            }
        }
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
