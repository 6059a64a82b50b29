//! The firing of a dead-man's switch: it rolls back a generation whose apply is gone, or commits it if it was
//! confirmed in time.

use super::confirm::{commit, unconfirmed};
use super::ending::finish;
use super::world::{Stack, World};
use super::{deadman, quarantine, rollback};
use crate::apply::{Event, Executed, Failure, Report};
use crate::history::{self, DeadMan, Ending, Passed};
use crate::pace::Class;
use crate::systems::Retry;
use std::time::Duration;

/// The polling interval while an apply runs or waits for confirmation.
const LOOK: Duration = Duration::from_secs(1);

/// The result of a dead-man's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// There was nothing to do: the generation ended properly, or a later one exists.
    NothingToDo,
    /// It was confirmed in time and is committed.
    Committed,
    /// The machine is on the last committed generation.
    RolledBack,
    /// The rollback failed.
    Stuck,
}

/// Runs the dead-man's switch of a generation until it has ended. A deadline starts again with each heartbeat;
/// without one it has passed already.
pub async fn fire<W: World>(
    stack: &Stack<W>,
    number: u64,
    deadline: Option<Duration>,
    say: &(dyn Fn(&str) + Send + Sync),
    report: &Report<'_>,
) -> Result<Fired, history::Error> {
    let clock = &stack.systems;
    if let Some(deadline) = deadline {
        let (mut last, mut begun) = (stack.history.deadman_stamp(number)?, clock.elapsed());
        while clock.elapsed().saturating_sub(begun) < deadline {
            clock.sleep(LOOK.min(deadline / 4)).await;
            let stamp = stack.history.deadman_stamp(number)?;
            if is_over(stack, number)? {
                return Ok(nothing_to_do(stack, number));
            }
            if stamp != last {
                (last, begun) = (stamp, clock.elapsed());
            }
        }
    }
    let mut reported = None;
    loop {
        if is_over(stack, number)? {
            return Ok(nothing_to_do(stack, number));
        }
        if let Some(open) = open(stack, number)? {
            // This needs no lock: a confirmation may have to take it.
            clock.sleep(LOOK.min(open)).await;
            continue;
        }
        match stack.history.lock(&format!("llamero deadman --stack {} --generation {number}", stack.name)) {
            Ok(_lock) if !is_over(stack, number)? => return resolve_generation(stack, number, report).await,
            Ok(_lock) => return Ok(nothing_to_do(stack, number)),
            Err(history::Error::Occupied(occupant)) => {
                if reported.as_ref() != Some(&occupant) {
                    say(&format!("generation {number} is unfinished; waiting for the running process: {occupant}"));
                    reported = Some(occupant);
                }
                clock.sleep(LOOK).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns whether a generation needs no dead-man's switch any more.
fn is_over<W: World>(stack: &Stack<W>, number: u64) -> Result<bool, history::Error> {
    let watched = stack.history.deadman_stamp(number)?.is_some();
    let later = stack.history.current()?.is_some_and(|current| current > number);
    Ok(!watched || later || stack.history.outcome(number)?.is_some())
}

/// Removes the remaining records of a switch whose generation has ended.
fn nothing_to_do<W: World>(stack: &Stack<W>, number: u64) -> Fired {
    let _ = stack.history.remove_deadman(number);
    Fired::NothingToDo
}

/// Returns for how long a generation still waits to be confirmed, if it does and was not.
fn open<W: World>(stack: &Stack<W>, number: u64) -> Result<Option<Duration>, history::Error> {
    if stack.history.confirmed(number)?.is_some() {
        return Ok(None);
    }
    let left = stack.history.passed(number)?.map(|passed| stack.systems.until(&passed.until));
    Ok(left.filter(|left| !left.is_zero()))
}

/// Ends a generation whose apply is gone. The stack lock must be held.
async fn resolve_generation<W: World>(
    stack: &Stack<W>,
    number: u64,
    report: &Report<'_>,
) -> Result<Fired, history::Error> {
    let passed = stack.history.passed(number)?;
    if let Some(passed) = &passed
        && stack.history.confirmed(number)?.is_some()
    {
        commit(stack, number, passed, report).await?;
        let _ = stack.history.remove_deadman(number);
        return Ok(Fired::Committed);
    }
    let (why, retry) = match passed {
        Some(Passed { within, .. }) => (unconfirmed(within.duration()), Retry::Never),
        None => ("the apply process exited without recording an outcome".to_owned(), Retry::Soon),
    };
    // An apply that died while it armed this one left the switch of an earlier generation.
    deadman::disarm_except(stack, Some(number)).await;
    // A damaged record counts as none: ending the generation matters more.
    let DeadMan { before, .. } = stack.history.watch(number).ok().flatten().unwrap_or_default();
    let back = rollback::roll_back(stack, &before.preexisting, report).await;
    let ending = if back.succeeded() { Ending::RolledBack } else { Ending::Stuck };
    let failures = vec![Failure::of_all(why.clone(), retry)];
    let finished = finish(stack, number, ending, Executed { failures, ..Executed::default() }, back);
    if let Ok(generation) = stack.history.load(number) {
        let class = if retry == Retry::Soon { Class::Transient } else { Class::Permanent };
        quarantine::failed(stack, &generation.revision, class, why);
    }
    for failure in &finished.later_failures {
        report(Event::Failed { step: format!("roll back generation {number}"), why: failure.why.clone() });
    }
    let _ = stack.history.remove_deadman(number);
    Ok(if ending == Ending::RolledBack { Fired::RolledBack } else { Fired::Stuck })
}
