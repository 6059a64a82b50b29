//! Reasons not to carry out a request, as values: each has a kind, a message and a hint.
//!
//! Guards are only found here; the caller reacts to them. The same guards stop every caller; earlier failures stop
//! only automatic retries.

use crate::history::{self, History};
use crate::pace::{FailureRecord, Suspension};
use crate::systems::store::Store;
use crate::systems::{FailureKind, Hint};
use std::path::PathBuf;

/// A reason not to carry out a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Guard {
    /// The stack is suspended.
    #[error("{stack} is suspended: {suspension}; nothing was changed")]
    Suspended {
        /// The stack.
        stack: String,
        /// By whom, since when and why.
        suspension: Suspension,
    },
    /// The manifest failed before, and nothing that it depends on has changed since.
    #[error("this manifest failed before, {}, the last time on {}: {}", times(.0.times), .0.ended, .0.why)]
    Quarantined(FailureRecord),
    /// The plan removes more than half of what is managed.
    #[error("this would remove {removed} of {managed} managed resources; nothing was changed")]
    PrunesMost {
        /// The number of resources to remove.
        removed: usize,
        /// The number of managed resources.
        managed: usize,
    },
    /// The saved plan no longer applies.
    #[error("the saved plan is out of date: {0}; nothing was changed")]
    StalePlan(Staleness),
    /// The lock file does not cover the manifest.
    #[error("{0}; nothing was changed")]
    NotCovered(Coverage),
    /// There is no committed generation to roll a rehearsal back to.
    #[error("nothing was applied yet, so there is no generation to roll back to")]
    FirstRehearsal,
    /// The machine is between two generations, and a rehearsal can return only to a committed one.
    #[error(
        "generation {unfinished} was left unfinished, and a rehearsal returns to a committed generation; nothing was changed"
    )]
    Unsettled {
        /// The generation that was left.
        unfinished: u64,
        /// The committed one.
        good: u64,
    },
    /// Confirmation is requested, but the policy forbids the rollback it controls.
    #[error("the manifest says `rollback: off`, so an unconfirmed change would not be rolled back")]
    RollbackOff,
    /// The generation never passed its health gate.
    #[error("generation {0} was never committed")]
    NeverCommitted(u64),
}

impl Guard {
    /// Returns why nothing can be rehearsed on a stack, if so.
    pub fn against_rehearsal<S: Store>(history: &History<S>) -> Result<Option<Self>, history::Error> {
        Ok(match (history.current()?, history.unsettled()?) {
            (None, _) => Some(Self::FirstRehearsal),
            (Some(good), Some(unfinished)) => Some(Self::Unsettled { unfinished, good }),
            (Some(_), None) => None,
        })
    }

    /// Returns whether it also stops an explicit request.
    #[must_use]
    pub const fn stops_users(&self) -> bool {
        !matches!(self, Self::Quarantined(_))
    }
}

impl Hint for Guard {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Suspended { stack, .. } => return Some(format!("`llamero resume --stack {stack}` ends that")),
            Self::Quarantined(_) => "`llamero retry` clears the failure record",
            Self::PrunesMost { .. } => {
                "if that is intended, pass `--prune-anyway`; `policy: {prune: false}` in the manifest leaves them"
            }
            Self::StalePlan(_) => "plan again: `llamero plan -o FILE`",
            Self::NotCovered(_) => "`llamero lock` brings it up to date",
            Self::FirstRehearsal => "leave out `--rehearse`: a first apply replaces nothing",
            Self::Unsettled { good, .. } => {
                return Some(format!("`llamero apply` finishes it, and `llamero rollback {good}` takes it back"));
            }
            Self::RollbackOff => "leave out `--confirm-within`, or that policy",
            Self::NeverCommitted(_) => "`llamero history` lists those that were",
        };
        Some(hint.to_owned())
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Suspended { .. } => FailureKind::Suspended,
            Self::PrunesMost { .. } => FailureKind::PrunesMost,
            Self::StalePlan(_) => FailureKind::Stale,
            Self::NotCovered(_) => FailureKind::NotCovered,
            Self::Quarantined(_)
            | Self::FirstRehearsal
            | Self::Unsettled { .. }
            | Self::RollbackOff
            | Self::NeverCommitted(_) => FailureKind::Policy,
        }
    }
}

fn times(times: u32) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

/// The changes since a plan was saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Staleness {
    /// Another version of llamero saved it.
    #[error("llamero {0} saved it")]
    Version(String),
    /// The manifest changed.
    #[error("{} changed", .0.display())]
    Manifest(PathBuf),
    /// The machine is on another generation.
    #[error("the machine was on generation {} and is on {}", number(*.then), number(*.now))]
    Generation {
        /// The generation when the plan was saved.
        then: Option<u64>,
        /// The generation now.
        now: Option<u64>,
    },
    /// The live resources changed.
    #[error("the machine changed")]
    Machine,
    /// The live resources changed, or secrets that were unknown then have another value than the one in force.
    #[error("the machine changed, or a secret that could not be read when it was saved: {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// A program or a secret that the stack needs changed.
    #[error("a program or a secret that the stack needs changed")]
    Facts,
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

/// The coverage of a manifest by its lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The lock file's path.
    pub path: PathBuf,
    /// True if there is a lock file.
    pub exists: bool,
    /// Sources of the manifest that it does not pin.
    pub missing: Vec<String>,
    /// Sources that it pins and the manifest does not have.
    pub unused: Vec<String>,
}

impl Coverage {
    /// Returns whether the lock file covers exactly the manifest's sources.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty()
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |what: &str, keys: &[String]| (!keys.is_empty()).then(|| format!("{what} {}", keys.join(", ")));
        let parts = [part("it does not pin", &self.missing), part("the manifest no longer has", &self.unused)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        write!(f, "{} is out of date: {}", self.path.display(), parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Coverage, Guard, Staleness};
    use crate::systems::{FailureKind, Hint};

    #[test]
    fn a_guard_has_a_message_and_a_kind() {
        let coverage = Coverage {
            path: "a.lock".into(),
            exists: true,
            missing: vec!["hf:a/b".to_owned()],
            unused: vec!["ollama:x".to_owned(), "ollama:y".to_owned()],
        };
        assert!(!coverage.is_exact());
        let guard = Guard::NotCovered(coverage);
        let text = "a.lock is out of date: it does not pin hf:a/b; the manifest no longer has ollama:x, ollama:y; \
                    nothing was changed";
        assert_eq!((guard.to_string().as_str(), guard.kind()), (text, FailureKind::NotCovered));
        let stale = Guard::StalePlan(Staleness::Generation { then: None, now: Some(2) });
        let text = "the saved plan is out of date: the machine was on generation none and is on 2; nothing was changed";
        assert_eq!((stale.to_string().as_str(), stale.kind()), (text, FailureKind::Stale));
    }
}
