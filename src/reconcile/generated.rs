//! Secrets that a pass generates.

use super::world::{Stack, World};
use crate::resolve::Desired;
use crate::resource::SecretReference;
use std::collections::{BTreeMap, BTreeSet};

/// Returns a desired state with the secrets that were generated while staging.
pub(super) fn learn<W: World>(stack: &Stack<W>, desired: &Desired) -> Desired {
    let references: BTreeSet<&SecretReference> = desired.secrets().collect();
    let digests: BTreeMap<_, _> = references
        .into_iter()
        .filter_map(|reference| Some((reference.clone(), stack.systems.secret_digest(reference)?)))
        .collect();
    let mut learned = desired.clone();
    learned.learn_secrets(&digests);
    learned
}
