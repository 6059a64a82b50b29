//! The firing of a dead-man's switch: it rolls back a generation whose apply is gone, or commits it if it was
//! confirmed in time.

use super::transaction::finish;
use super::world::{Stack, World};
use super::{deadman, quarantine, rollback};
use crate::apply::{Event, Executed, Execution, Failure, Report, execute};
use crate::history::{self, Confirmed, DeadMan, Ending, Passed};
use crate::observe::Depth;
use crate::pace::Class;
use crate::plan::Phase;
use crate::systems::Retry;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The polling interval while an apply runs or waits for confirmation.
const LOOK: Duration = Duration::from_secs(1);

/// The longest wait of a confirmation for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The polling interval of a confirmation.
const CLOSELY: Duration = Duration::from_millis(100);

/// The result of a dead-man's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// There was nothing to do: the generation ended properly, or a later one exists.
    NothingToDo,
    /// It was confirmed in time and is committed.
    Committed,
    /// The machine is on the last committed generation.
    WentBack,
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
    let mut told = None;
    loop {
        if is_over(stack, number)? {
            return Ok(nothing_to_do(stack, number));
        }
        if let Some(open) = open(stack, number)? {
            // This needs no lock: a confirmation may have to take it.
            clock.sleep(LOOK.min(open)).await;
            continue;
        }
        match stack.history.lock(&format!("llamero return --stack {} --generation {number}", stack.name)) {
            Ok(_lock) if !is_over(stack, number)? => return resolve_generation(stack, number, report).await,
            Ok(_lock) => return Ok(nothing_to_do(stack, number)),
            Err(history::Error::Occupied(occupant)) => {
                if told.as_ref() != Some(&occupant) {
                    say(&format!("generation {number} is unfinished; waiting for the running process: {occupant}"));
                    told = Some(occupant);
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
    // A damaged record counts as none: ending the generation matters more.
    let DeadMan { preexisting, .. } = stack.history.watch(number).ok().flatten().unwrap_or_default();
    let back = rollback::roll_back(stack, &preexisting.into_iter().collect(), report).await;
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
    Ok(if ending == Ending::RolledBack { Fired::WentBack } else { Fired::Stuck })
}

/// Returns the message about an unconfirmed generation.
pub(super) fn unconfirmed(within: Duration) -> String {
    format!("it was not confirmed within {} s", within.as_secs_f32())
}

/// Commits a generation that has passed its gate, and prunes undeclared resources.
async fn commit<W: World>(
    stack: &Stack<W>,
    number: u64,
    passed: &Passed,
    report: &Report<'_>,
) -> Result<(), history::Error> {
    stack.history.end(number, &passed.outcome)?;
    report(Event::Committed { generation: number });
    let revision = stack.history.load(number)?.revision;
    quarantine::succeeded(stack, &revision);
    let prepared = super::prepare(stack, revision, Depth::State, super::Options::default()).await?;
    // Drift since its gate is left to the next apply.
    if prepared.plan.steps.iter().all(|step| step.phase == Phase::Prune) {
        let super::Prepared { revision, plan, inventory, .. } = prepared;
        let cancel = CancellationToken::new();
        let execution = Execution {
            desired: &revision.desired,
            inventory: &inventory,
            systems: &stack.systems,
            report,
            cancel: &cancel,
        };
        execute(execution, &plan, Phase::Prune, &BTreeSet::new(), false).await;
    }
    let _ = stack.history.trim();
    Ok(())
}

/// The result of a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing waits to be confirmed.
    NothingWaits,
    /// The generation is the good one now.
    Committed(u64),
    /// It came too late: the generation is rolled back.
    TooLate(u64),
    /// It is recorded, and the process that holds the stack has not answered yet.
    Unanswered(u64),
}

/// Confirms the waiting generation: its apply commits it, or this process does if the apply is gone.
pub async fn confirm<W: World>(
    stack: &Stack<W>,
    by: &str,
    report: &Report<'_>,
) -> Result<Confirmation, history::Error> {
    let Some((number, passed)) = stack.history.waiting()? else { return Ok(Confirmation::NothingWaits) };
    if stack.systems.until(&passed.until).is_zero() {
        return Ok(Confirmation::TooLate(number));
    }
    stack.history.set_confirmed(number, &Confirmed { by: by.to_owned(), at: stack.systems.now() })?;
    let begun = stack.systems.elapsed();
    while stack.systems.elapsed().saturating_sub(begun) < ANSWER {
        if let Some(outcome) = stack.history.outcome(number)? {
            let good = outcome.ending == Ending::Committed;
            return Ok(if good { Confirmation::Committed(number) } else { Confirmation::TooLate(number) });
        }
        match stack.history.lock(&format!("llamero confirm --stack {}", stack.name)) {
            Ok(_lock) if stack.history.outcome(number)?.is_none() => {
                commit(stack, number, &passed, report).await?;
                deadman::disarm(stack).await;
                return Ok(Confirmation::Committed(number));
            }
            Ok(_) | Err(history::Error::Occupied(_)) => {}
            Err(error) => return Err(error),
        }
        stack.systems.sleep(CLOSELY).await;
    }
    Ok(Confirmation::Unanswered(number))
}

/// Waits for the confirmation of a generation; returns the reason if there is none.
pub(super) async fn await_confirmation<W: World>(
    stack: &Stack<W>,
    number: u64,
    passed: &Passed,
    cancel: &CancellationToken,
) -> Result<(), String> {
    loop {
        // Checked first: a confirmation at the last moment counts.
        let left = stack.systems.until(&passed.until);
        match stack.history.confirmed(number) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if left.is_zero() {
            return Err(unconfirmed(passed.within.duration()));
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err("it was interrupted before it was confirmed".to_owned()),
            () = stack.systems.sleep(CLOSELY.min(left)) => {}
        }
    }
}
