//! Failure records of revisions. They serve later decisions; a failure to write them stops nothing.

use super::ending::Finished;
use super::generated::learn;
use super::world::{Stack, World};
use crate::history::{Ending, Revision};
use crate::pace::{self, Attempt, Class, FailureRecord};
use crate::resource::Digest;
use crate::systems::Retry;

/// Returns the attempt of a revision; `None` for one without a manifest, such as a rollback.
#[must_use]
pub fn attempt(revision: &Revision) -> Option<Attempt> {
    let known = revision.origin.is_none() && !revision.manifest_text.is_empty();
    known.then(|| Attempt { manifest: revision.manifest_digest.clone(), lock: revision.lock_digest.clone() })
}

/// Returns the digest of everything on the machine that affects a manifest: programs, secrets, memory.
#[must_use]
pub fn environment_digest(revision: &Revision) -> Digest {
    let desired = serde_json::to_string(&revision.desired).unwrap_or_default();
    Digest::of(format!("{}\n{desired}", env!("CARGO_PKG_VERSION")))
}

/// Records the outcome of a pass.
pub(super) fn remember<W: World>(stack: &Stack<W>, revision: &Revision, finished: &Finished) {
    match finished.outcome.ending {
        Ending::Committed => succeeded(stack, revision),
        Ending::Interrupted | Ending::Rehearsed => {}
        Ending::Abandoned | Ending::RolledBack | Ending::Stuck => {
            let transient = finished.failures.iter().all(|failure| failure.retry == Retry::Soon);
            let class = if transient { Class::Transient } else { Class::Permanent };
            let why = finished.failures.first().map(|failure| match &failure.on {
                Some(on) => format!("{on}: {}", failure.why),
                None => failure.why.clone(),
            });
            failed(stack, revision, class, why.unwrap_or_default());
        }
    }
}

/// Clears the failure records of an applied revision.
pub(super) fn succeeded<W: World>(stack: &Stack<W>, revision: &Revision) {
    let (Some(attempt), Ok(mut bad)) = (attempt(revision), stack.history.quarantine()) else { return };
    let before = bad.len();
    pace::forget(&mut bad, &attempt);
    if bad.len() != before {
        let _ = stack.history.set_quarantine(&bad);
    }
}

/// Records the failure of a revision.
pub(super) fn failed<W: World>(stack: &Stack<W>, revision: &Revision, class: Class, why: String) {
    let Some(attempt) = attempt(revision) else { return };
    // A damaged record file is replaced.
    let mut bad = stack.history.quarantine().unwrap_or_default();
    // With the secrets generated during the pass: the next observation finds them.
    let environment_digest =
        environment_digest(&Revision { desired: learn(stack, &revision.desired), ..revision.clone() });
    let (last, ended) = (stack.systems.seconds(), stack.systems.now());
    pace::failed(&mut bad, FailureRecord { attempt, class, why, times: 0, last, ended, environment_digest });
    let _ = stack.history.set_quarantine(&bad);
}
