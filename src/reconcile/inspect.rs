//! Questions about a stack that change nothing: its status, the texts that a plan would change, and plans against a
//! recorded observation.

use super::unknown::assume;
use super::{Error, Prepared, Stack};
use crate::history::{Memory, Revision};
use crate::live::Observation;
use crate::observe::{Depth, RenderedChange, observe, rendered_change};
use crate::plan::{Plan, plan};
use crate::resolve::{Desired, Drift, Policy};
use crate::resource::Bytes;
use crate::status::{Known, Status, status};
use crate::systems::files;
use std::path::Path;
use std::sync::Arc;

/// The largest observation that is read, in bytes.
const LIMIT: Bytes = Bytes(256 << 20);

/// Returns the status of a stack against its committed generation, and the plan that would correct it.
pub async fn stack_status(stack: &Stack) -> Result<(Status, Plan), Error> {
    let changing = stack.history.occupant().map(|occupant| occupant.to_string());
    let committed = stack.history.committed()?;
    let generation = committed.as_ref().map(|committed| committed.number);
    let nothing = || Desired::nothing(stack.name.clone(), Policy::default());
    let mut desired = committed.map_or_else(nothing, |committed| Arc::unwrap_or_clone(committed.revision).desired);
    // Everything is shown, whatever the policy.
    desired.policy = Policy { drift: Drift::Correct, prune: true, ..desired.policy };
    let memory = stack.history.memory()?;
    let observed = observe(&stack.systems, &desired, &memory.inventory, Depth::Health).await;
    let plan = plan(&desired, &observed, &memory.past);
    let known = Known {
        generation,
        changing,
        unconfirmed: stack.history.waiting()?.map(|(number, _)| number),
        suspended: stack.history.hold()?,
        quarantined: stack.history.quarantine()?,
    };
    Ok((status(&desired, &observed, plan.clone(), known), plan))
}

/// Observes every resource of a revision, and every other resource of the stack.
pub async fn observation(stack: &Stack, revision: &Revision) -> Result<Observation, Error> {
    let inventory = stack.history.memory()?.inventory;
    Ok(observe(&stack.systems, &revision.desired, &inventory, Depth::Health).await)
}

/// Plans against an observation that was recorded in a file.
pub fn plan_against(stack: &Stack, revision: &Revision, path: &Path) -> Result<Plan, Error> {
    let text = files::read_text(path, LIMIT)?.ok_or_else(|| Error::NoFile(path.to_owned()))?;
    let observed: Observation = serde_json::from_str(&text)
        .map_err(|error| Error::NotObservation { path: path.to_owned(), why: error.to_string() })?;
    let Memory { past, inventory } = stack.history.memory()?;
    let mut desired = revision.desired.clone();
    assume(&stack.history, &mut desired, &observed, &inventory)?;
    Ok(plan(&desired, &observed, &past))
}

/// Returns what becomes of each rendered text that the plan would change; secrets are numbered masks.
pub fn rendered_changes(stack: &Stack, prepared: &Prepared) -> Result<Vec<RenderedChange>, Error> {
    let before = stack.history.committed()?.map(|committed| committed.revision);
    let before = before.as_ref().map(|revision| &revision.desired);
    let Prepared { revision, observed, plan, .. } = prepared;
    let one = |change| rendered_change(&stack.systems, &revision.desired, before, observed, change);
    Ok(plan.changes.iter().map(one).collect())
}
