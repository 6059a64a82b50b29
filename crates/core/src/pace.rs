//! Retries after failures: the failure records, and the decision derived from them.
//!
//! A transient failure is retried after a wait that doubles; a permanent one is not retried while the revision and
//! the environment stay the same. An explicit request is always attempted; the rule applies to automatic attempts.

use crate::resource::Digest;
use serde::{Deserialize, Serialize};

/// The first wait after a transient failure, in seconds, and the longest.
const FIRST: u64 = 5;
const LONGEST: u64 = 300;

/// The number of failure records kept.
const REMEMBERED: usize = 32;

/// The subject of an attempt: the manifest and its lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The digest of the manifest's text.
    pub manifest: Digest,
    /// The digest of the lock file, where there is one.
    pub lock: Option<Digest>,
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Transient: a lost connection, a busy peer, a killed process.
    Transient,
    /// Permanent: it recurs while the revision and the environment stay the same.
    Permanent,
}

/// The record of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// The attempt.
    pub attempt: Attempt,
    /// The class of the failure.
    pub class: Class,
    /// The latest error.
    pub why: String,
    /// The number of consecutive failures.
    pub times: u32,
    /// The time of the latest failure, in seconds since 1970.
    pub last: u64,
    /// The same time for display, with the offset from UTC.
    pub ended: String,
    /// The digest of everything outside the manifest that affects the result: the machine and the llamero version.
    pub environment_digest: Digest,
}

/// A suspension: the stack is to stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// The user's name.
    pub by: String,
    /// The start, with the offset from UTC.
    pub since: String,
    /// The reason, if one was given.
    pub reason: Option<String>,
}

impl std::fmt::Display for Suspension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "by {} since {}", self.by, self.since)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ", because: {reason}"))
    }
}

/// The decision about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Attempt now.
    Try,
    /// Wait until this time, in seconds since 1970.
    WaitUntil(u64),
    /// Do not retry while the revision and the environment stay the same.
    Quarantined(String),
}

/// Decides whether to make an attempt now, from the failure records.
#[must_use]
pub fn next(bad: &[FailureRecord], attempt: &Attempt, environment_digest: &Digest, now: u64) -> Next {
    let managed = || bad.iter().filter(|bad| bad.attempt == *attempt);
    let permanent =
        managed().find(|bad| bad.class == Class::Permanent && bad.environment_digest == *environment_digest);
    if let Some(permanent) = permanent {
        return Next::Quarantined(permanent.why.clone());
    }
    match managed().find(|bad| bad.class == Class::Transient) {
        // A clock that was set back does not show how long ago the failure was.
        Some(transient) if now >= transient.last && now - transient.last < wait(transient.times) => {
            Next::WaitUntil(transient.last + wait(transient.times))
        }
        _ => Next::Try,
    }
}

/// Returns the wait after this many consecutive failures, in seconds.
fn wait(times: u32) -> u64 {
    let doublings = times.saturating_sub(1).min(16);
    (FIRST << doublings).min(LONGEST)
}

/// Records a failure; `failure.times` is computed here.
pub fn failed(bad: &mut Vec<FailureRecord>, failure: FailureRecord) {
    let same = |other: &FailureRecord| {
        // In another environment it counts as another failure: a machine that alternates is not retried each time.
        let there = failure.class == Class::Transient || other.environment_digest == failure.environment_digest;
        other.attempt == failure.attempt && other.class == failure.class && there
    };
    let earlier = bad.iter().position(same).map(|index| bad.remove(index));
    let times = earlier.map_or(0, |earlier| earlier.times).saturating_add(1);
    bad.push(FailureRecord { times, ..failure });
    let excess = bad.len().saturating_sub(REMEMBERED);
    bad.drain(..excess);
}

/// Clears the failure records of an attempt: it succeeded, or the user cleared them.
pub fn forget(bad: &mut Vec<FailureRecord>, attempt: &Attempt) {
    bad.retain(|bad| bad.attempt != *attempt);
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Class, FIRST, FailureRecord, LONGEST, Next, REMEMBERED, failed, forget, next};
    use crate::resource::Digest;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn attempt(number: u8) -> Attempt {
        let lock = number.is_multiple_of(2).then(|| Digest::of("lock"));
        Attempt { manifest: Digest::of([number / 2]), lock }
    }

    fn bad(number: u8, class: Class, now: u64, environment_digest: &Digest) -> FailureRecord {
        let (ended, environment_digest) = (now.to_string(), environment_digest.clone());
        FailureRecord {
            attempt: attempt(number),
            class,
            why: "why".to_owned(),
            times: 0,
            last: now,
            ended,
            environment_digest,
        }
    }

    #[test]
    fn a_transient_failure_doubles_its_wait_and_is_retried_for_ever() {
        let (mut memory, machine) = (Vec::new(), Digest::of("machine"));
        let mut now = 1_000;
        for wait in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            assert_eq!(next(&memory, &attempt(1), &machine, now), Next::Try);
            failed(&mut memory, bad(1, Class::Transient, now, &machine));
            assert_eq!(next(&memory, &attempt(1), &machine, now), Next::WaitUntil(now + wait));
            assert_eq!(next(&memory, &attempt(1), &machine, now + wait - 1), Next::WaitUntil(now + wait));
            assert_eq!(next(&memory, &attempt(2), &machine, now), Next::Try, "another attempt need not wait");
            now += wait;
        }
        assert_eq!(next(&memory, &attempt(1), &machine, 0), Next::Try, "a clock that was set back delays nothing");
        forget(&mut memory, &attempt(1));
        assert_eq!(next(&memory, &attempt(1), &machine, now - 1), Next::Try);
    }

    #[test]
    fn a_permanent_failure_is_retried_when_its_environment_changes() {
        let (mut memory, machine) = (Vec::new(), Digest::of("machine"));
        failed(&mut memory, bad(1, Class::Permanent, 9, &machine));
        failed(&mut memory, bad(1, Class::Permanent, 10, &machine));
        assert_eq!(memory.iter().map(|bad| bad.times).collect::<Vec<_>>(), [2]);
        assert_eq!(next(&memory, &attempt(1), &machine, u64::MAX), Next::Quarantined("why".to_owned()));
        assert_eq!(next(&memory, &attempt(0), &machine, 10), Next::Try, "another lock file is another attempt");
        let other = Digest::of("a later llamero");
        assert_eq!(next(&memory, &attempt(1), &other, 10), Next::Try);
        failed(&mut memory, bad(1, Class::Permanent, 11, &other));
        assert_eq!(memory.iter().map(|bad| bad.times).collect::<Vec<_>>(), [2, 1]);
        assert!(
            matches!(next(&memory, &attempt(1), &machine, 12), Next::Quarantined(_)),
            "back in the earlier environment"
        );
        forget(&mut memory, &attempt(1));
        assert_eq!(next(&memory, &attempt(1), &other, 12), Next::Try);
    }

    #[test]
    fn the_records_are_bounded_and_keep_the_newest() {
        let (mut memory, machine) = (Vec::new(), Digest::of("machine"));
        (0..u8::MAX).for_each(|number| failed(&mut memory, bad(number, Class::Permanent, 9, &machine)));
        assert_eq!(memory.len(), REMEMBERED);
        assert_eq!(memory.last().map(|bad| &bad.attempt), Some(&attempt(u8::MAX - 1)));
    }

    proptest! {
        /// For any sequence of failures and any frequency of attempts: each failed attempt is followed by its whole
        /// wait, and a permanent failure is attempted once per environment.
        #[test]
        fn there_is_at_most_one_attempt_per_slot(
            schedule in prop::collection::vec((0_u64..400, 0_u8..4, 0_u8..3, 0_u8..16), 1..300),
        ) {
            let (mut memory, mut now) = (Vec::new(), 1_000_000);
            let mut machine = Digest::of("0");
            // An independent model of the rule: by attempt, the end of its slot and the length of the next.
            let mut slots: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
            let mut done: BTreeMap<(u8, Digest), u32> = BTreeMap::new();
            for (pause, number, how, reconcile) in schedule {
                now += pause;
                if reconcile < 3 {
                    machine = Digest::of(reconcile.to_string());
                }
                if next(&memory, &attempt(number), &machine, now) != Next::Try {
                    continue;
                }
                let (end, length) = slots.get(&number).copied().unwrap_or((0, FIRST));
                prop_assert!(now >= end, "an attempt at {now} in the slot that lasts until {end}");
                prop_assert_eq!(done.get(&(number, machine.clone())), None, "retried a permanent failure");
                match how {
                    0 => {
                        failed(&mut memory, bad(number, Class::Transient, now, &machine));
                        slots.insert(number, (now + length, (length * 2).min(LONGEST)));
                    }
                    1 => {
                        failed(&mut memory, bad(number, Class::Permanent, now, &machine));
                        *done.entry((number, machine.clone())).or_default() += 1;
                    }
                    _ => {
                        forget(&mut memory, &attempt(number));
                        slots.remove(&number);
                        done.retain(|(other, _), _| *other != number);
                    }
                }
            }
        }

        /// An attempt with only transient failures is retried for ever, and never waits longer than the longest wait.
        #[test]
        fn a_transient_failure_is_never_given_up(times in 1_u32..200) {
            let (mut memory, machine, mut now) = (Vec::new(), Digest::of("machine"), 0);
            for _ in 0..times {
                failed(&mut memory, bad(1, Class::Transient, now, &machine));
                now += LONGEST;
                prop_assert_eq!(next(&memory, &attempt(1), &machine, now), Next::Try);
            }
        }
    }
}
