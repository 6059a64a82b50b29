//! The process that applies a manifest, and what must hold at each of its events.

use crate::drive::{Before, End, Ended, Notes, revision, stack, unhealthy};
use crate::stacks::Declaration;
use crate::truth::Truth;
use crate::world::World;
use llamero::apply::Event;
use llamero::history::{self, Revision};
use llamero::observe::Depth;
use llamero::pace::{self, Next};
use llamero::plan::Phase;
use llamero::reconcile::{self, Guard, Options, Stack, environment_digest, prepare, run_pass};
use llamero::systems::clock::Clock;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

pub(crate) fn name(end: &End) -> String {
    match end {
        End::Occupied => "Occupied".to_owned(),
        End::Error(_) => "Error".to_owned(),
        End::Refused => "Refused".to_owned(),
        End::Nothing => "Nothing".to_owned(),
        End::Finished(finished) => format!("{:?}", finished.1.outcome.ending),
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(finished) => {
                let failures = finished.1.failures.iter().chain(&finished.1.later_failures);
                let whys: Vec<String> = failures.map(|failure| format!("{:?}: {}", failure.on, failure.why)).collect();
                write!(f, "{:?} {whys:?}", finished.1.outcome.ending)
            }
            Self::Error(why) => f.write_str(why),
            other => f.write_str(&name(other)),
        }
    }
}

/// Does what `llamero apply` does.
pub(crate) async fn apply(
    world: World,
    declaration: Declaration,
    options: Options,
    cancel: CancellationToken,
    notes: Arc<Mutex<Notes>>,
) {
    let mut before = Before::default();
    let end = match attempt(&world, &declaration, options, (&cancel, &mut before), &notes).await {
        Ok(end) => end,
        Err(history::Error::Occupied(_)) => End::Occupied,
        Err(error) => End::Error(error.to_string()),
    };
    if world.is_gone() {
        return;
    }
    world.sim().note(world.pid, format_args!("ends: {end}"));
    answer(&world);
    let truth = truth_now(&world);
    let mut notes = notes.lock().expect("no panic");
    notes.met.push(name(&end));
    notes.ends.push(Ended { declaration, end, before, rehearsed: options.rehearse, truth });
}

fn truth_now(world: &World) -> Truth {
    let mut sim = world.sim();
    let now = sim.now;
    sim.truth.advance(now);
    sim.truth.clone()
}

fn look_before(stack: &Stack<World>, revision: &Revision) -> Result<Before, history::Error> {
    let quarantine = stack.history.quarantine().unwrap_or_default();
    let manifest = reconcile::attempt(revision).expect("a manifest says it");
    let next = pace::next(&quarantine, &manifest, &environment_digest(revision), stack.systems.seconds());
    let good = stack.history.committed()?.map(|good| good.revision);
    let (truth, at) = (truth_now(&stack.systems), stack.systems.sim().now);
    let preexisting = unhealthy(good.as_ref().map(|good| &good.desired), &revision.desired, &truth, at);
    let watched = stack.history.watched()?.last().copied();
    let died = match watched {
        Some(number) if stack.history.outcome(number)?.is_none() => stack.history.watch(number).ok().flatten(),
        _ => None,
    };
    let died = died.map(|record| record.before.starts);
    let quarantined = matches!(next, Next::Quarantined(_));
    Ok(Before { quarantined, died, preexisting, servers: truth.servers, at })
}

/// Notes that an apply has ended or begins to roll back, if it is the one that may be cancelled.
fn answer(world: &World) {
    let mut sim = world.sim();
    if sim.cancel.as_ref().is_some_and(|(pid, _)| *pid == world.pid) {
        let now = sim.now;
        sim.answered.get_or_insert(now);
    }
}

async fn attempt(
    world: &World,
    declaration: &Declaration,
    options: Options,
    (cancel, before): (&CancellationToken, &mut Before),
    notes: &Arc<Mutex<Notes>>,
) -> Result<End, history::Error> {
    let stack = stack(world);
    let _lock = stack.history.lock("apply")?;
    let resolved = declaration.resolved(!world.sim().truth.secrets.is_empty());
    if options.rehearse
        && let Some(guard) = Guard::against_rehearsal(&stack.history)?
    {
        world.sim().note(world.pid, format_args!("{guard}"));
        return Ok(End::Refused);
    }
    *before = look_before(&stack, &revision(&resolved))?;
    let prepared = prepare(&stack, revision(&resolved), Depth::Health, options).await?;
    if !prepared.plan.refusals.is_empty() {
        let whys: Vec<&String> = prepared.plan.refusals.iter().map(|refusal| &refusal.message).collect();
        world.sim().note(world.pid, format_args!("refused: {whys:?}"));
        return Ok(End::Refused);
    }
    for step in &prepared.plan.steps {
        world.sim().plans(&step.action);
    }
    let committed = stack.history.committed()?;
    if prepared.plan.is_empty() && committed.is_some_and(|good| good.revision.desired == prepared.revision.desired) {
        if prepared.plan.changes.is_empty() {
            reconcile::disarm(&stack).await;
        }
        return Ok(End::Nothing);
    }
    let (plan, revision) = (prepared.plan.clone(), prepared.revision.clone());
    let report = report(world, notes, Some((cancel.clone(), revision.desired.policy.rollback)));
    let finished = run_pass(&stack, prepared, options, &report, cancel).await?;
    Ok(End::Finished(Box::new((plan, finished, revision))))
}

/// Returns what receives the events of a process, and what must hold at each.
pub(crate) fn report(
    world: &World,
    notes: &Arc<Mutex<Notes>>,
    forward: Option<(CancellationToken, bool)>,
) -> impl Fn(Event) + Send + Sync + use<> {
    let (world, notes) = (world.clone(), Arc::clone(notes));
    let back = std::sync::atomic::AtomicBool::new(false);
    move |event| {
        if world.is_gone() {
            return;
        }
        let is_back = back.load(std::sync::atomic::Ordering::Relaxed);
        match &event {
            Event::Started { step, .. } => {
                world.sim().note(world.pid, format_args!("begins: {step}"));
                // What is ready at the same instant begins with it.
                let (now, since) = {
                    let sim = world.sim();
                    (sim.now, sim.cancelled)
                };
                let cancelled = forward.as_ref().is_some_and(|(cancel, _)| cancel.is_cancelled());
                let cancelled = cancelled && since.is_some_and(|since| since < now);
                if cancelled && !is_back {
                    world.sim().violation(format!("A15: `{step}` begins after it was cancelled"));
                }
            }
            Event::Phase { phase: Phase::Switch | Phase::Canary, .. } => {
                let rollback = forward.as_ref().is_some_and(|(_, rollback)| *rollback);
                let mut sim = world.sim();
                // One that has fired waits for the lock; that it is killed meanwhile is one fault too many.
                let fired = !sim.firing.is_empty();
                let armed = !sim.switches.is_empty() || sim.beats.contains_key(&world.pid) || fired;
                if rollback && !is_back && !armed {
                    sim.violation("A30: the switch begins and no dead-man's switch is armed".to_owned());
                }
            }
            Event::RollingBack { to } => {
                answer(&world);
                back.store(true, std::sync::atomic::Ordering::Relaxed);
                world.sim().note(world.pid, format_args!("rolls back to {to:?}"));
            }
            Event::Committed { generation } => {
                world.sim().note(world.pid, format_args!("commits generation {generation}"));
                let truth = truth_now(&world);
                let at = (world.sim().now, truth);
                let mut notes = notes.lock().expect("no panic");
                notes.committed.insert(*generation);
                notes.commits.insert(*generation, at);
            }
            Event::Failed { step, why } => world.sim().note(world.pid, format_args!("failed: {step}: {why}")),
            _ => {}
        }
    }
}
