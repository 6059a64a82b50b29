//! One turn: observe, plan, walk, gate, commit or go back, and record all of it.
//!
//! The only place where the flow's parts meet. Applying, rolling back and taking down are this one line with another
//! wish; none has a path of its own.

mod back;
mod late;
mod memory;
mod watch;

pub use late::{Confirmation, Watched, confirm, watch_over};
pub use memory::{attempt, circumstances};
pub use watch::{RETURN_AFTER, enlist, stand_down};

use crate::apply::{Event, Failure, Report, Scene, Walk, gate, walk};
use crate::desired::{Desired, Places};
use crate::history::{self, Ending, History, Memory, Outcome, Passed, StepOutcome, Wish};
use crate::observe::{Depth, contents, observe};
use crate::observed::{Observed, Phase as Running, Seen};
use crate::plan::{Action, Past, Phase, Plan, plan};
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
    pub fn open(name: &str, places: &Places, program: PathBuf) -> Result<Self, http::Error> {
        let records = places.records(name);
        let processes = process::Processes::new(records.join("processes"), program.clone());
        let systems = Systems::new(
            http::Client::new()?,
            processes,
            places.units(),
            places.known_artifacts(),
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
    pub wish: Wish,
    /// What was seen.
    pub observed: Observed,
    /// What earlier generations left to know.
    pub past: Past,
    /// The way there.
    pub plan: Plan,
    inventory: Vec<Resource>,
}

/// What may be chosen about a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices {
    /// Stop at the first failure instead of going on with what does not depend on it.
    pub fail_fast: bool,
    /// Only rehearse what would take another's place, and clear it away again.
    pub rehearse: bool,
    /// Keep nothing of earlier generations: models and environments go too.
    pub purge: bool,
    /// How long somebody has to confirm the new generation before it is taken back; without, nobody needs to.
    pub confirm_within: Option<Seconds>,
    /// How long after the last sign of life of this process the watcher goes back.
    pub return_after: Duration,
}

impl Default for Choices {
    fn default() -> Self {
        Self { fail_fast: false, rehearse: false, purge: false, confirm_within: None, return_after: RETURN_AFTER }
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
pub async fn prepare(stack: &Stack, wish: Wish, depth: Depth, choices: Choices) -> Result<Prepared, history::Error> {
    let Memory { mut past, inventory } = stack.history.memory()?;
    if choices.purge {
        past.keep.clear();
    }
    let others = stack.needed_by_others(&inventory);
    past.oldest.retain(|id| !others.contains(id));
    past.keep.extend(others);
    let observed = observe(&stack.systems, &wish.desired, &inventory, depth).await;
    let plan = plan(&wish.desired, &observed, &past);
    Ok(Prepared { wish, observed, past, plan, inventory })
}

impl Prepared {
    /// Returns the servers that have not proved themselves as they are wished for: those that the plan starts, and those
    /// that an apply which was cut off left running.
    #[must_use]
    pub fn unproved(&self) -> BTreeSet<ResourceId> {
        let good = |resource: &Resource| self.past.committed.get(&resource.id) == Some(&resource.fields());
        let others = self.wish.desired.runs().filter(|(resource, _)| !good(resource));
        started(&self.plan).into_iter().chain(others.map(|(resource, _)| resource.id.clone())).collect()
    }

    /// Returns the servers that are not healthy, with what is wrong; they are not told apart by whose fault it is.
    #[must_use]
    pub fn unhealthy(&self) -> BTreeMap<ResourceId, String> {
        let found = self.wish.desired.runs().filter_map(|(resource, _)| {
            let health = self.observed.run(&resource.id)?.health.as_ref().filter(|health| !health.is_healthy())?;
            Some((resource.id.clone(), health.to_string()))
        });
        found.collect()
    }
}

/// Walks a plan to its end: committed, gone back, or stuck. The lock must be held.
///
/// An error means that nothing was touched.
pub async fn execute(
    stack: &Stack,
    mut prepared: Prepared,
    choices: Choices,
    report: &Report<'_>,
    cancel: &CancellationToken,
) -> Result<Finished, history::Error> {
    prepared.wish.leftover = leftover(&prepared.wish.desired, &prepared.observed, &prepared.inventory);
    let number = stack.history.begin(&prepared.wish)?;
    let wish = prepared.wish.clone();
    let mut guard = None;
    let finished = carry_out(stack, number, prepared, choices, report, cancel, &mut guard).await;
    // However it ended, it ended in order, and nobody needs to go back from it any more.
    if let Some(guard) = guard {
        guard.stand_down(stack).await;
    }
    memory::remember(stack, &wish, &finished);
    Ok(finished)
}

async fn carry_out(
    stack: &Stack,
    number: u64,
    prepared: Prepared,
    choices: Choices,
    report: &Report<'_>,
    cancel: &CancellationToken,
    guard: &mut Option<watch::Guard>,
) -> Finished {
    let tolerated = unhealthy_before(&prepared.wish.desired, &prepared.observed, &prepared.past);
    let unproved = prepared.unproved();
    let Prepared { wish, mut plan, mut inventory, .. } = prepared;
    inventory.extend(wish.desired.resources.values().cloned());
    let systems = &stack.systems;
    let scene = Scene { desired: &wish.desired, inventory: &inventory, systems, report, cancel };

    let mut walked = walk(scene, &plan, Phase::Stage, &tolerated, choices.fail_fast).await;
    if walked.succeeded() {
        // What cannot be written later must not stop anything now.
        walked.failures.extend(unreadable_secrets(&wish.desired, &plan));
    }
    let learned = Wish { desired: learn(&wish.desired), ..wish.clone() };
    if let Some(first) = &mut plan.first {
        **first = learn(first);
    }
    if walked.succeeded()
        && let Err(error) = stack.history.rewrite(number, &learned)
    {
        walked.failures.push(Failure::of(None, &error));
    }
    if walked.succeeded() {
        if wish.desired.policy.rollback {
            // Where nobody could go back, nothing is begun.
            match watch::arm(stack, number, &learned.desired, &tolerated, choices.return_after).await {
                Ok(armed) => *guard = Some(armed),
                Err(error) => {
                    let _ = stack.history.unwatch(number);
                    walked.failures.push(Failure::of(None, &error));
                }
            }
        } else {
            watch::stand_down(stack).await;
        }
    }
    if !walked.succeeded() {
        // Nothing that runs was touched: there is nothing to go back from.
        walked.steps.extend(not_attempted(&plan, Phase::Canary));
        walked.steps.extend(not_attempted(&plan, Phase::Switch));
        let ending = if walked.interrupted { Ending::Interrupted } else { Ending::Abandoned };
        return finish(stack, number, ending, walked, Walk::default());
    }
    let wish = learned;
    let scene = Scene { desired: &wish.desired, ..scene };
    if choices.rehearse {
        walked.extend(walk(scene, &plan.rehearsal(), Phase::Switch, &tolerated, choices.fail_fast).await);
        let back = back::leave_rehearsal(stack, &tolerated, report).await;
        let ending = match (walked.succeeded(), back.succeeded()) {
            (true, true) => Ending::Rehearsed,
            (false, true) => Ending::RolledBack,
            (_, false) => Ending::Stuck,
        };
        return finish(stack, number, ending, walked, back);
    }
    if let Some(first) = &plan.first {
        let scene = Scene { desired: first, ..scene };
        walked.extend(walk(scene, &plan, Phase::Canary, &tolerated, choices.fail_fast).await);
    }
    if walked.succeeded() {
        walked.extend(walk(scene, &plan, Phase::Switch, &tolerated, choices.fail_fast).await);
    } else {
        walked.steps.extend(not_attempted(&plan, Phase::Switch));
    }
    if walked.succeeded() {
        let failures = gate(scene, &unproved, &tolerated, &walked.proved).await;
        walked.interrupted |= cancel.is_cancelled() && failures.is_empty();
        walked.failures.extend(failures);
    }
    if walked.interrupted {
        return finish(stack, number, Ending::Interrupted, walked, Walk::default());
    }
    if walked.failures.is_empty() {
        walked.unhealthy_before.extend(still_unhealthy(scene, &tolerated).await);
        walked.contents = contents(systems, &wish.desired).await;
        if let Some(within) = choices.confirm_within
            && let Err(failure) = confirmed(scene, stack, number, &walked, within).await
        {
            walked.failures.push(failure);
        }
    }
    if walked.failures.is_empty() {
        // A generation that cannot be put on record is not a good one: the next run would not know of it.
        match stack.history.end(number, &outcome(Ending::Committed, &walked, &Walk::default())) {
            Ok(()) => return clear(stack, number, scene, &plan, walked).await,
            Err(error) => walked.failures.push(Failure::of(None, &error)),
        }
        if let Err(error) = stack.history.withdraw(number) {
            walked.failures.push(Failure::of(None, &error));
            return finish(stack, number, Ending::Stuck, walked, Walk::default());
        }
    }
    if !wish.desired.policy.rollback {
        return finish(stack, number, Ending::Stuck, walked, Walk::default());
    }
    let back = back::go_back(stack, &tolerated, report).await;
    let ending = if back.succeeded() { Ending::RolledBack } else { Ending::Stuck };
    if let Ok(Some(good)) = stack.history.committed() {
        let scene = Scene { desired: &good.wish.desired, ..scene };
        walked.unhealthy_before.extend(still_unhealthy(scene, &tolerated).await);
    }
    finish(stack, number, ending, walked, back)
}

/// Waits until somebody confirms a generation that has passed its gate.
async fn confirmed(
    scene: Scene<'_>,
    stack: &Stack,
    number: u64,
    walked: &Walk,
    within: Seconds,
) -> Result<(), Failure> {
    let failed = |why: String| Failure::of_all(why, Retry::Never);
    let until =
        clock::Moment::after(within.duration()).ok_or_else(|| failed("this machine has no clock".to_owned()))?;
    let passed = Passed { outcome: outcome(Ending::Committed, walked, &Walk::default()), within, until };
    stack.history.set_passed(number, &passed).map_err(|error| Failure::of(None, &error))?;
    let command = format!("llamero confirm --stack {}", stack.name);
    (scene.report)(Event::AwaitingConfirmation { generation: number, within_ms: within.milliseconds, command });
    late::await_confirmation(stack, number, &passed, scene.cancel).await.map_err(failed)
}

/// Clears away what is no longer declared, after the commit.
async fn clear(stack: &Stack, number: u64, scene: Scene<'_>, plan: &Plan, mut walked: Walk) -> Finished {
    (scene.report)(Event::Committed { generation: number });
    let cleared = walk(scene, plan, Phase::Prune, &BTreeSet::new(), false).await;
    walked.interrupted = cleared.interrupted;
    walked.steps.extend(cleared.steps);
    let later = Walk { failures: cleared.failures, ..Walk::default() };
    let finished = finish(stack, number, Ending::Committed, walked, later);
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
    let wished: BTreeSet<&SecretReference> = desired.secrets().collect();
    let unreadable = written.filter_map(|resource| {
        let Spec::File(file) = &resource.spec else { return None };
        let mut failure = Failure::of(Some(&resource.id), &secrets::fill(&file.content).err()?);
        if file.content.secrets().any(|reference| !wished.contains(reference)) {
            let hint = "the former routes need it until the first one has been tried: set it once more, or let all routes \
                        change at once";
            failure.hint = Some(hint.to_owned());
        }
        Some(failure)
    });
    unreadable.collect()
}

/// Returns what earlier generations made, is not known to be gone, and is not part of this wish.
fn leftover(desired: &Desired, observed: &Observed, inventory: &[Resource]) -> Vec<Resource> {
    let there = |resource: &&Resource| !matches!(observed.things.get(&resource.id), None | Some(Seen::Absent));
    let other = |resource: &&Resource| !desired.resources.contains_key(&resource.id);
    inventory.iter().filter(there).filter(other).cloned().collect()
}

/// Puts on record how a generation ended. Where that cannot be written, it is one more thing that failed.
fn finish(stack: &Stack, number: u64, ending: Ending, walked: Walk, mut back: Walk) -> Finished {
    let outcome = outcome(ending, &walked, &back);
    if let Err(error) = stack.history.end(number, &outcome) {
        back.failures.push(Failure::of(None, &error));
    }
    Finished {
        generation: number,
        interrupted: walked.interrupted,
        outcome,
        failures: walked.failures,
        later_failures: back.failures,
        current: stack.history.current().unwrap_or_default(),
    }
}

fn outcome(ending: Ending, walked: &Walk, back: &Walk) -> Outcome {
    Outcome {
        ending,
        ended: clock::now(),
        why: walked.failures.first().map(|failure| failure.why.clone()),
        steps: walked.steps.clone(),
        way_back: back.steps.clone(),
        unhealthy_before: walked.unhealthy_before.iter().cloned().collect(),
        start_times: walked.start_times.clone(),
        contents: walked.contents.clone(),
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
fn unhealthy_before(desired: &Desired, observed: &Observed, past: &Past) -> BTreeSet<ResourceId> {
    let good = |id: &ResourceId| past.committed.get(id).map(Fingerprint::of);
    desired
        .runs()
        .filter_map(|(resource, _)| Some((&resource.id, observed.run(&resource.id)?)))
        .filter(|(id, found)| {
            good(id).is_some() && found.definition.as_ref().map(|claim| &claim.fingerprint) == good(id).as_ref()
        })
        .filter(|(_, found)| found.phase != Running::Running || found.health != Some(Health::Healthy))
        .map(|(id, _)| id.clone())
        .collect()
}

/// Returns which of the servers that were not healthy before are not healthy now either.
async fn still_unhealthy(scene: Scene<'_>, tolerated: &BTreeSet<ResourceId>) -> Vec<ResourceId> {
    let mut still = Vec::new();
    for id in tolerated {
        let only = Desired {
            resources: scene
                .desired
                .resources
                .get(id)
                .map(|resource| (id.clone(), resource.clone()))
                .into_iter()
                .collect(),
            ..Desired::nothing(scene.desired.stack.clone(), scene.desired.policy.clone())
        };
        let observed = observe(scene.systems, &only, &[], Depth::Health).await;
        if observed.run(id).is_none_or(|found| found.health != Some(Health::Healthy)) {
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
