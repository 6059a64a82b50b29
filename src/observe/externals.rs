//! Asks the parts that others run.

use crate::resolve::Desired;
use crate::resource::Health;
use crate::systems::{Systems, external};
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// Returns the health of every part that others run, by its place in the manifest.
pub(super) async fn ask(systems: &Systems, desired: &Desired) -> BTreeMap<String, Health> {
    let asked = desired
        .externals
        .iter()
        .map(|part| async move { (part.role.clone(), external::ask(&systems.client, &part.question).await) });
    join_all(asked).await.into_iter().collect()
}
