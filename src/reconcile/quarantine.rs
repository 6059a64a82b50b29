//! What is remembered of wishes that failed. It serves who decides later; that it cannot be written stops nothing.

use super::transaction::{Finished, learn};
use super::world::{Stack, World};
use crate::history::{Ending, Revision};
use crate::pace::{self, Attempt, Class, FailureRecord};
use crate::resource::Digest;
use crate::systems::Retry;

/// Returns what is tried by a wish; `None` for one that no manifest says, such as a rollback.
#[must_use]
pub fn attempt(revision: &Revision) -> Option<Attempt> {
    let said = revision.origin.is_none() && !revision.manifest_text.is_empty();
    said.then(|| Attempt { manifest: revision.manifest_digest.clone(), lock: revision.lock_digest.clone() })
}

/// Returns the digest of all that the machine and this llamero make of a manifest: programs, secrets, memory.
#[must_use]
pub fn environment_digest(revision: &Revision) -> Digest {
    let desired = serde_json::to_string(&revision.desired).unwrap_or_default();
    Digest::of(format!("{}\n{desired}", env!("CARGO_PKG_VERSION")))
}

/// Takes note of how a turn ended.
pub(super) fn remember<W: World>(stack: &Stack<W>, revision: &Revision, finished: &Finished) {
    match finished.outcome.ending {
        Ending::Committed => succeeded(stack, revision),
        Ending::Interrupted | Ending::Rehearsed => {}
        Ending::Abandoned | Ending::RolledBack | Ending::Stuck => {
            let transient = finished.failures.iter().all(|failure| failure.retry == Retry::Soon);
            let class = if transient { Class::Transient } else { Class::Permanent };
            let told = finished.failures.first().map(|failure| match &failure.on {
                Some(on) => format!("{on}: {}", failure.why),
                None => failure.why.clone(),
            });
            failed(stack, revision, class, told.unwrap_or_default());
        }
    }
}

/// Forgets the failures of a wish that was fulfilled.
pub(super) fn succeeded<W: World>(stack: &Stack<W>, revision: &Revision) {
    let (Some(attempt), Ok(mut bad)) = (attempt(revision), stack.history.quarantine()) else { return };
    let before = bad.len();
    pace::forget(&mut bad, &attempt);
    if bad.len() != before {
        let _ = stack.history.set_quarantine(&bad);
    }
}

/// Remembers that a wish failed.
pub(super) fn failed<W: World>(stack: &Stack<W>, revision: &Revision, class: Class, why: String) {
    let Some(attempt) = attempt(revision) else { return };
    // Where the memory is damaged, a new one begins.
    let mut bad = stack.history.quarantine().unwrap_or_default();
    // With the secrets that were made on the way: the next look at the machine finds them.
    let environment_digest =
        environment_digest(&Revision { desired: learn(stack, &revision.desired), ..revision.clone() });
    let (last, ended) = (stack.systems.seconds(), stack.systems.now());
    pace::failed(&mut bad, FailureRecord { attempt, class, why, times: 0, last, ended, environment_digest });
    let _ = stack.history.set_quarantine(&bad);
}
