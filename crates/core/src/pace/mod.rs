//! When to try again what failed: the memory of bad wishes, and the one decision that is made of it.
//!
//! A failure that may pass is tried again after a wait that doubles; one that will not mend by itself is not tried again
//! while the wish and the machine stay as they are. What a person asks for is tried whatever this says; it is for who
//! asks by itself.

use crate::resource::Digest;
use serde::{Deserialize, Serialize};

/// The first wait after a failure that may pass, in seconds, and the longest.
const FIRST: u64 = 5;
const LONGEST: u64 = 300;

/// How many failures are remembered.
const REMEMBERED: usize = 32;

/// What was tried: the manifest, and what its lock file says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The digest of the manifest's text.
    pub manifest: Digest,
    /// The digest of the lock file, where there is one.
    pub lock: Option<Digest>,
}

/// Whether a failure may mend by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It was bad luck: a lost connection, a busy peer, a process that was killed.
    Transient,
    /// It comes to the same again while the wish and the machine stay as they are.
    Permanent,
}

/// What is remembered of an attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// What was tried.
    pub attempt: Attempt,
    /// Whether it may mend by itself.
    pub class: Class,
    /// What went wrong the last time.
    pub why: String,
    /// How often it failed so.
    pub times: u32,
    /// When it failed the last time, in seconds since 1970.
    pub last: u64,
    /// The same for people, with the offset from UTC.
    pub ended: String,
    /// The digest of all that the machine and this llamero made of the manifest.
    pub environment_digest: Digest,
}

/// Somebody wants the stack to stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// The user's name.
    pub by: String,
    /// Since when, with the offset from UTC.
    pub since: String,
    /// Why, if that was said.
    pub reason: Option<String>,
}

impl std::fmt::Display for Suspension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "by {} since {}", self.by, self.since)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ", because: {reason}"))
    }
}

/// What to do about a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Try it.
    Try,
    /// Not before this time, in seconds since 1970.
    WaitUntil(u64),
    /// Not again while the wish and the machine stay as they are.
    Quarantined(String),
}

/// Says whether to try a wish now, after what is remembered of it.
#[must_use]
pub fn next(bad: &[FailureRecord], attempt: &Attempt, environment_digest: &Digest, now: u64) -> Next {
    let managed = || bad.iter().filter(|bad| bad.attempt == *attempt);
    let permanent =
        managed().find(|bad| bad.class == Class::Permanent && bad.environment_digest == *environment_digest);
    if let Some(permanent) = permanent {
        return Next::Quarantined(permanent.why.clone());
    }
    match managed().find(|bad| bad.class == Class::Transient) {
        // A clock that was set back says nothing about how long ago it was.
        Some(transient) if now >= transient.last && now - transient.last < wait(transient.times) => {
            Next::WaitUntil(transient.last + wait(transient.times))
        }
        _ => Next::Try,
    }
}

/// Returns the wait after so many failures in a row, in seconds.
fn wait(times: u32) -> u64 {
    let doublings = times.saturating_sub(1).min(16);
    (FIRST << doublings).min(LONGEST)
}

/// Takes note of a failure; `failure.times` is counted here.
pub fn failed(bad: &mut Vec<FailureRecord>, failure: FailureRecord) {
    let same = |other: &FailureRecord| {
        // In other circumstances it is another failure: a machine that goes to and fro is not tried each time.
        let there = failure.class == Class::Transient || other.environment_digest == failure.environment_digest;
        other.attempt == failure.attempt && other.class == failure.class && there
    };
    let earlier = bad.iter().position(same).map(|index| bad.remove(index));
    let times = earlier.map_or(0, |earlier| earlier.times).saturating_add(1);
    bad.push(FailureRecord { times, ..failure });
    let excess = bad.len().saturating_sub(REMEMBERED);
    bad.drain(..excess);
}

/// Forgets the failures of a wish: it succeeded, or somebody says that it will.
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
    fn a_passing_failure_waits_twice_as_long_each_time_and_for_ever() {
        let (mut memory, machine) = (Vec::new(), Digest::of("machine"));
        let mut now = 1_000;
        for wait in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            assert_eq!(next(&memory, &attempt(1), &machine, now), Next::Try);
            failed(&mut memory, bad(1, Class::Transient, now, &machine));
            assert_eq!(next(&memory, &attempt(1), &machine, now), Next::WaitUntil(now + wait));
            assert_eq!(next(&memory, &attempt(1), &machine, now + wait - 1), Next::WaitUntil(now + wait));
            assert_eq!(next(&memory, &attempt(2), &machine, now), Next::Try, "another wish need not wait");
            now += wait;
        }
        assert_eq!(next(&memory, &attempt(1), &machine, 0), Next::Try, "a clock that was set back holds nobody up");
        forget(&mut memory, &attempt(1));
        assert_eq!(next(&memory, &attempt(1), &machine, now - 1), Next::Try);
    }

    #[test]
    fn a_lasting_failure_is_tried_again_when_something_is_different() {
        let (mut memory, machine) = (Vec::new(), Digest::of("machine"));
        failed(&mut memory, bad(1, Class::Permanent, 9, &machine));
        failed(&mut memory, bad(1, Class::Permanent, 10, &machine));
        assert_eq!(memory.iter().map(|bad| bad.times).collect::<Vec<_>>(), [2]);
        assert_eq!(next(&memory, &attempt(1), &machine, u64::MAX), Next::Quarantined("why".to_owned()));
        assert_eq!(next(&memory, &attempt(0), &machine, 10), Next::Try, "another lock file is another wish");
        let other = Digest::of("a later llamero");
        assert_eq!(next(&memory, &attempt(1), &other, 10), Next::Try);
        failed(&mut memory, bad(1, Class::Permanent, 11, &other));
        assert_eq!(memory.iter().map(|bad| bad.times).collect::<Vec<_>>(), [2, 1]);
        assert!(matches!(next(&memory, &attempt(1), &machine, 12), Next::Quarantined(_)), "back where it was before");
        forget(&mut memory, &attempt(1));
        assert_eq!(next(&memory, &attempt(1), &other, 12), Next::Try);
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_new() {
        let (mut memory, machine) = (Vec::new(), Digest::of("machine"));
        (0..u8::MAX).for_each(|number| failed(&mut memory, bad(number, Class::Permanent, 9, &machine)));
        assert_eq!(memory.len(), REMEMBERED);
        assert_eq!(memory.last().map(|bad| &bad.attempt), Some(&attempt(u8::MAX - 1)));
    }

    proptest! {
        /// Whatever fails when, however often it is asked: each try that failed is followed by its whole wait, and what
        /// fails for good is tried once in the same circumstances.
        #[test]
        fn there_is_at_most_one_try_in_each_slot(
            schedule in prop::collection::vec((0_u64..400, 0_u8..4, 0_u8..3, 0_u8..16), 1..300),
        ) {
            let (mut memory, mut now) = (Vec::new(), 1_000_000);
            let mut machine = Digest::of("0");
            // What the rule says, kept in another way: by wish, the end of its slot and how long the next one is.
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
                prop_assert!(now >= end, "a try at {now} in the slot that lasts until {end}");
                prop_assert_eq!(done.get(&(number, machine.clone())), None, "tried again what failed for good");
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

        /// A wish that only ever fails in passing is tried for ever, and never waits longer than the longest wait.
        #[test]
        fn nothing_that_may_pass_is_given_up(times in 1_u32..200) {
            let (mut memory, machine, mut now) = (Vec::new(), Digest::of("machine"), 0);
            for _ in 0..times {
                failed(&mut memory, bad(1, Class::Transient, now, &machine));
                now += LONGEST;
                prop_assert_eq!(next(&memory, &attempt(1), &machine, now), Next::Try);
            }
        }
    }
}
