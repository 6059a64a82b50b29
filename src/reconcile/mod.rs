//! One turn: observe, plan, walk, gate, commit or go back, and record all of it.
//!
//! The only place where the flow's parts meet. Applying, rolling back and taking down are this one line with another
//! wish; none has a path of its own.

mod deadman;
mod error;
mod fire;
mod guard;
mod inspect;
mod load;
mod notice;
mod pins;
mod quarantine;
mod record;
mod request;
mod rollback;
mod saved_plan;
mod stacks;
mod teardown;

pub use deadman::{FIRE_AFTER, disarm, enlist_deadman};
pub use error::Error;
pub use fire::{Confirmation, Fired, confirm, fire};
pub use guard::{Coverage, Guard, Staleness};
pub use inspect::{observation, plan_against, rendered_changes, stack_status};
pub use load::{LoadedManifest, default_path};
pub use notice::{Notice, Notify};
pub use pins::{LockFileUpdate, PinChange, SourceReport, SourceState, lock, outdated, update};
pub use quarantine::{attempt, environment_digest};
pub use request::{Applied, Pending, Request, Source, Verdict, blocked, check_coverage, open};
pub use saved_plan::SavedPlan;
pub use stacks::StackSelector;
pub use teardown::Cleared;

use crate::apply::{Event, Executed, Execution, Failure, Report, execute, gate};
use crate::history::{self, Ending, History, Memory, Outcome, Passed, Revision, StepOutcome};
use crate::live::{Observation, Presence, RunState};
use crate::observe::{Depth, contents, observe};
use crate::plan::{Action, Past, Phase, Plan, plan};
use crate::resolve::{Desired, Directories};
use crate::resource::{Fingerprint, Health, Kind, Resource, ResourceId, Seconds, SecretReference, Spec};
use crate::systems::{Retry, Systems, clock, files, http, process, secrets};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One stack on this machine: its records, and the world around it.
#[derive(Debug)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Its records.
    pub history: History,
    /// The world around it.
    pub systems: Systems,
    program: PathBuf,
}

impl Stack {
    /// Opens a stack; `program` is llamero itself, which supervises the processes. Nothing is touched yet.
    pub fn open(name: &str, directories: &Directories, program: PathBuf) -> Result<Self, http::Error> {
        let records = directories.records(name);
        let processes = process::Processes::new(records.join("processes"), program.clone());
        let systems = Systems::new(
            http::Client::new()?,
            processes,
            directories.units(),
            directories.known_artifacts(),
            records.join("models"),
            records.join("images"),
        );
        Ok(Self { name: name.to_owned(), history: History::new(records), systems, program })
    }
}

impl Stack {
    /// Returns the environments and model files that other stacks of this user need. Where the records of one cannot be
    /// read, everything may be needed.
    fn needed_by_others(&self, inventory: &[Resource]) -> BTreeSet<ResourceId> {
        let shared = |id: &ResourceId| matches!(id.kind, Kind::Artifact | Kind::Environment | Kind::Image);
        let mut needed = BTreeSet::new();
        let Some(all) = self.history.folder().parent() else { return needed };
        for name in files::names(all).unwrap_or_default() {
            if name == self.name || !all.join(&name).join("generations").is_dir() {
                continue;
            }
            match History::new(all.join(&name)).memory() {
                Ok(memory) => needed.extend(memory.past.keep),
                Err(_) => needed.extend(inventory.iter().map(|resource| resource.id.clone()).filter(|id| shared(id))),
            }
        }
        needed
    }
}

/// A wish with the plan that leads to it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What was asked for.
    pub revision: Revision,
    /// What was seen.
    pub observed: Observation,
    /// What earlier generations left to know.
    pub past: Past,
    /// The way there.
    pub plan: Plan,
    inventory: Vec<Resource>,
}

/// What may be chosen about a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Stop at the first failure instead of going on with what does not depend on it.
    pub fail_fast: bool,
    /// Only rehearse what would take another's place, and clear it away again.
    pub rehearse: bool,
    /// Keep nothing of earlier generations: models and environments go too.
    pub purge: bool,
    /// How long somebody has to confirm the new generation before it is taken back; without, nobody needs to.
    pub confirm_within: Option<Seconds>,
    /// How long after the last sign of life of this process the watcher goes back.
    pub fire_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { fail_fast: false, rehearse: false, purge: false, confirm_within: None, fire_after: FIRE_AFTER }
    }
}

/// How a turn ended.
#[derive(Debug)]
pub struct Finished {
    /// The generation that it made.
    pub generation: u64,
    /// Whether somebody stopped it before it was done.
    pub interrupted: bool,
    /// What is on record of it.
    pub outcome: Outcome,
    /// What failed on the way there.
    pub failures: Vec<Failure>,
    /// What failed on the way back, or while clearing away.
    pub later_failures: Vec<Failure>,
    /// The generation that the machine is on now.
    pub current: Option<u64>,
}

/// Observes and plans. Writes nothing.
pub async fn prepare(
    stack: &Stack,
    revision: Revision,
    depth: Depth,
    options: Options,
) -> Result<Prepared, history::Error> {
    let Memory { mut past, inventory } = stack.history.memory()?;
    if options.purge {
        past.keep.clear();
    }
    let others = stack.needed_by_others(&inventory);
    past.oldest.retain(|id| !others.contains(id));
    past.keep.extend(others);
    let observed = observe(&stack.systems, &revision.desired, &inventory, depth).await;
    let plan = plan(&revision.desired, &observed, &past);
    Ok(Prepared { revision, observed, past, plan, inventory })
}

impl Prepared {
    /// Returns the servers that have not proved themselves as they are wished for: those that the plan starts, and those
    /// that an apply which was cut off left running.
    #[must_use]
    pub fn unverified(&self) -> BTreeSet<ResourceId> {
        let good = |resource: &Resource| self.past.committed.get(&resource.id) == Some(&resource.fields());
        let others = self.revision.desired.runs().filter(|(resource, _)| !good(resource));
        started(&self.plan).into_iter().chain(others.map(|(resource, _)| resource.id.clone())).collect()
    }

    /// Returns the servers that are not healthy, with what is wrong; they are not told apart by whose fault it is.
    #[must_use]
    pub fn unhealthy(&self) -> BTreeMap<ResourceId, String> {
        let live = self.revision.desired.runs().filter_map(|(resource, _)| {
            let health = self.observed.run(&resource.id)?.health.as_ref().filter(|health| !health.is_healthy())?;
            Some((resource.id.clone(), health.to_string()))
        });
        live.collect()
    }
}

/// Walks a plan to its end: committed, gone back, or stuck. The lock must be held.
///
/// An error means that nothing was touched.
pub async fn run_pass(
    stack: &Stack,
    mut prepared: Prepared,
    options: Options,
    report: &Report<'_>,
    cancel: &CancellationToken,
) -> Result<Finished, history::Error> {
    prepared.revision.orphans = orphans(&prepared.revision.desired, &prepared.observed, &prepared.inventory);
    let number = stack.history.begin(&prepared.revision)?;
    let revision = prepared.revision.clone();
    let mut armed = None;
    let finished = carry_out(stack, number, prepared, options, report, cancel, &mut armed).await;
    // However it ended, it ended in order, and nobody needs to go back from it any more.
    if let Some(armed) = armed {
        armed.disarm(stack).await;
    }
    quarantine::remember(stack, &revision, &finished);
    Ok(finished)
}

async fn carry_out(
    stack: &Stack,
    number: u64,
    prepared: Prepared,
    options: Options,
    report: &Report<'_>,
    cancel: &CancellationToken,
    guard_slot: &mut Option<deadman::Armed>,
) -> Finished {
    let preexisting = unhealthy_before(&prepared.revision.desired, &prepared.observed, &prepared.past);
    let unverified = prepared.unverified();
    let Prepared { revision, mut plan, mut inventory, .. } = prepared;
    inventory.extend(revision.desired.resources.values().cloned());
    let systems = &stack.systems;
    let execution = Execution { desired: &revision.desired, inventory: &inventory, systems, report, cancel };

    let mut executed = execute(execution, &plan, Phase::Stage, &preexisting, options.fail_fast).await;
    if executed.succeeded() {
        // What cannot be written later must not stop anything now.
        executed.failures.extend(unreadable_secrets(&revision.desired, &plan));
    }
    let learned = Revision { desired: learn(&revision.desired), ..revision.clone() };
    if let Some(first) = &mut plan.first {
        **first = learn(first);
    }
    if executed.succeeded()
        && let Err(error) = stack.history.rewrite(number, &learned)
    {
        executed.failures.push(Failure::of(None, &error));
    }
    if executed.succeeded() {
        if revision.desired.policy.rollback {
            // Where nobody could go back, nothing is begun.
            match deadman::arm(stack, number, &learned.desired, &preexisting, options.fire_after).await {
                Ok(armed) => *guard_slot = Some(armed),
                Err(error) => {
                    let _ = stack.history.remove_deadman(number);
                    executed.failures.push(Failure::of(None, &error));
                }
            }
        } else {
            deadman::disarm(stack).await;
        }
    }
    if !executed.succeeded() {
        // Nothing that runs was touched: there is nothing to go back from.
        executed.steps.extend(not_attempted(&plan, Phase::Canary));
        executed.steps.extend(not_attempted(&plan, Phase::Switch));
        let ending = if executed.interrupted { Ending::Interrupted } else { Ending::Abandoned };
        return finish(stack, number, ending, executed, Executed::default());
    }
    let revision = learned;
    let execution = Execution { desired: &revision.desired, ..execution };
    if options.rehearse {
        executed.extend(execute(execution, &plan.rehearsal(), Phase::Switch, &preexisting, options.fail_fast).await);
        let back = rollback::undo_rehearsal(stack, &preexisting, report).await;
        let ending = match (executed.succeeded(), back.succeeded()) {
            (true, true) => Ending::Rehearsed,
            (false, true) => Ending::RolledBack,
            (_, false) => Ending::Stuck,
        };
        return finish(stack, number, ending, executed, back);
    }
    if let Some(first) = &plan.first {
        let execution = Execution { desired: first, ..execution };
        executed.extend(execute(execution, &plan, Phase::Canary, &preexisting, options.fail_fast).await);
    }
    if executed.succeeded() {
        executed.extend(execute(execution, &plan, Phase::Switch, &preexisting, options.fail_fast).await);
    } else {
        executed.steps.extend(not_attempted(&plan, Phase::Switch));
    }
    if executed.succeeded() {
        let failures = gate(execution, &unverified, &preexisting, &executed.verified).await;
        executed.interrupted |= cancel.is_cancelled() && failures.is_empty();
        executed.failures.extend(failures);
    }
    if executed.interrupted {
        return finish(stack, number, Ending::Interrupted, executed, Executed::default());
    }
    if executed.failures.is_empty() {
        executed.unhealthy_before.extend(still_unhealthy(execution, &preexisting).await);
        executed.contents = contents(systems, &revision.desired).await;
        if let Some(within) = options.confirm_within
            && let Err(failure) = confirmed(execution, stack, number, &executed, within).await
        {
            executed.failures.push(failure);
        }
    }
    if executed.failures.is_empty() {
        // A generation that cannot be put on record is not a good one: the next run would not know of it.
        match stack.history.end(number, &outcome(Ending::Committed, &executed, &Executed::default())) {
            Ok(()) => return clear(stack, number, execution, &plan, executed).await,
            Err(error) => executed.failures.push(Failure::of(None, &error)),
        }
        if let Err(error) = stack.history.withdraw(number) {
            executed.failures.push(Failure::of(None, &error));
            return finish(stack, number, Ending::Stuck, executed, Executed::default());
        }
    }
    if !revision.desired.policy.rollback {
        return finish(stack, number, Ending::Stuck, executed, Executed::default());
    }
    let back = rollback::roll_back(stack, &preexisting, report).await;
    let ending = if back.succeeded() { Ending::RolledBack } else { Ending::Stuck };
    if let Ok(Some(good)) = stack.history.committed() {
        let execution = Execution { desired: &good.revision.desired, ..execution };
        executed.unhealthy_before.extend(still_unhealthy(execution, &preexisting).await);
    }
    finish(stack, number, ending, executed, back)
}

/// Waits until somebody confirms a generation that has passed its gate.
async fn confirmed(
    execution: Execution<'_>,
    stack: &Stack,
    number: u64,
    executed: &Executed,
    within: Seconds,
) -> Result<(), Failure> {
    let failed = |why: String| Failure::of_all(why, Retry::Never);
    let until =
        clock::Moment::after(within.duration()).ok_or_else(|| failed("this machine has no clock".to_owned()))?;
    let passed = Passed { outcome: outcome(Ending::Committed, executed, &Executed::default()), within, until };
    stack.history.set_passed(number, &passed).map_err(|error| Failure::of(None, &error))?;
    let command = format!("llamero confirm --stack {}", stack.name);
    (execution.report)(Event::AwaitingConfirmation { generation: number, within_ms: within.milliseconds, command });
    fire::await_confirmation(stack, number, &passed, execution.cancel).await.map_err(failed)
}

/// Clears away what is no longer declared, after the commit.
async fn clear(stack: &Stack, number: u64, execution: Execution<'_>, plan: &Plan, mut executed: Executed) -> Finished {
    (execution.report)(Event::Committed { generation: number });
    let cleared = execute(execution, plan, Phase::Prune, &BTreeSet::new(), false).await;
    executed.interrupted = cleared.interrupted;
    executed.steps.extend(cleared.steps);
    let later = Executed { failures: cleared.failures, ..Executed::default() };
    let finished = finish(stack, number, Ending::Committed, executed, later);
    // Old records that cannot be removed are in nobody's way.
    let _ = stack.history.trim();
    finished
}

/// Returns a failure for each secret that a file of this plan needs and that cannot be read.
fn unreadable_secrets(desired: &Desired, plan: &Plan) -> Vec<Failure> {
    let first = plan.first.as_deref().unwrap_or(desired);
    let written = plan.steps.iter().filter_map(|step| match &step.action {
        Action::WriteFile(id) if step.phase == Phase::Canary => first.resources.get(id),
        Action::WriteFile(id) => desired.resources.get(id),
        _ => None,
    });
    let declared: BTreeSet<&SecretReference> = desired.secrets().collect();
    let unreadable = written.filter_map(|resource| {
        let Spec::File(file) = &resource.spec else { return None };
        let mut failure = Failure::of(Some(&resource.id), &secrets::fill(&file.content).err()?);
        if file.content.secrets().any(|reference| !declared.contains(reference)) {
            let hint = "the former routes need it until the first one has been tried: set it once more, or let all routes \
                        change at once";
            failure.hint = Some(hint.to_owned());
        }
        Some(failure)
    });
    unreadable.collect()
}

/// Returns what earlier generations made, is not known to be gone, and is not part of this wish.
fn orphans(desired: &Desired, observed: &Observation, inventory: &[Resource]) -> Vec<Resource> {
    let there = |resource: &&Resource| !matches!(observed.resources.get(&resource.id), None | Some(Presence::Absent));
    let other = |resource: &&Resource| !desired.resources.contains_key(&resource.id);
    inventory.iter().filter(there).filter(other).cloned().collect()
}

/// Puts on record how a generation ended. Where that cannot be written, it is one more thing that failed.
fn finish(stack: &Stack, number: u64, ending: Ending, executed: Executed, mut back: Executed) -> Finished {
    let outcome = outcome(ending, &executed, &back);
    if let Err(error) = stack.history.end(number, &outcome) {
        back.failures.push(Failure::of(None, &error));
    }
    Finished {
        generation: number,
        interrupted: executed.interrupted,
        outcome,
        failures: executed.failures,
        later_failures: back.failures,
        current: stack.history.current().unwrap_or_default(),
    }
}

fn outcome(ending: Ending, executed: &Executed, back: &Executed) -> Outcome {
    Outcome {
        ending,
        ended: clock::now(),
        why: executed.failures.first().map(|failure| failure.why.clone()),
        steps: executed.steps.clone(),
        way_back: back.steps.clone(),
        unhealthy_before: executed.unhealthy_before.iter().cloned().collect(),
        start_times: executed.start_times.clone(),
        contents: executed.contents.clone(),
    }
}

fn not_attempted(plan: &Plan, phase: Phase) -> Vec<StepOutcome> {
    let steps = plan.steps.iter().filter(|step| step.phase == phase);
    steps.map(|step| StepOutcome::not_attempted(step.action.to_string())).collect()
}

/// Returns the servers that a plan starts.
fn started(plan: &Plan) -> BTreeSet<ResourceId> {
    let awaited = plan.steps.iter().filter_map(|step| match &step.action {
        Action::AwaitHealthy(id) => Some(id.clone()),
        _ => None,
    });
    awaited.collect()
}

/// Returns the servers of the last good generation that were not healthy before anything was done: they are not held
/// against the change. One that an unfinished apply left behind is.
fn unhealthy_before(desired: &Desired, observed: &Observation, past: &Past) -> BTreeSet<ResourceId> {
    let good = |id: &ResourceId| past.committed.get(id).map(Fingerprint::of);
    desired
        .runs()
        .filter_map(|(resource, _)| Some((&resource.id, observed.run(&resource.id)?)))
        .filter(|(id, live)| {
            good(id).is_some() && live.definition.as_ref().map(|claim| &claim.fingerprint) == good(id).as_ref()
        })
        .filter(|(_, live)| live.phase != RunState::Running || live.health != Some(Health::Healthy))
        .map(|(id, _)| id.clone())
        .collect()
}

/// Returns which of the servers that were not healthy before are not healthy now either.
async fn still_unhealthy(execution: Execution<'_>, preexisting: &BTreeSet<ResourceId>) -> Vec<ResourceId> {
    let mut still = Vec::new();
    for id in preexisting {
        let only = Desired {
            resources: execution
                .desired
                .resources
                .get(id)
                .map(|resource| (id.clone(), resource.clone()))
                .into_iter()
                .collect(),
            ..Desired::nothing(execution.desired.stack.clone(), execution.desired.policy.clone())
        };
        let observed = observe(execution.systems, &only, &[], Depth::Health).await;
        if observed.run(id).is_none_or(|live| live.health != Some(Health::Healthy)) {
            still.push(id.clone());
        }
    }
    still
}

/// Returns a wish with note taken of secrets that were made while staging.
fn learn(desired: &Desired) -> Desired {
    let references: BTreeSet<&SecretReference> = desired.secrets().collect();
    let digests: BTreeMap<_, _> = references
        .into_iter()
        .filter_map(|reference| Some((reference.clone(), secrets::digest(&secrets::resolve(reference).ok()?))))
        .collect();
    let mut learned = desired.clone();
    learned.learn_secrets(&digests);
    learned
}
