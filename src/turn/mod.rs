//! One turn: observe, plan, walk, gate, commit or go back, and record all of it.
//!
//! The only place where the flow's parts meet. Applying, rolling back and taking down are this one line with another
//! wish; none has a path of its own.

mod back;

use crate::apply::{Event, Failure, Report, Scene, Walk, gate, walk};
use crate::desired::{Desired, Places};
use crate::history::{self, Ending, History, Memory, Outcome, StepOutcome, Wish};
use crate::observe::{Depth, observe};
use crate::observed::{Observed, Phase as Running, Seen};
use crate::plan::{Action, Past, Phase, Plan, plan};
use crate::resource::{Fingerprint, Health, Piece, Resource, ResourceId, SecretReference, Spec};
use crate::systems::{Systems, clock, http, process, secrets};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
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
}

impl Stack {
    /// Opens a stack; `program` is llamero itself, which supervises the processes. Nothing is touched yet.
    pub fn open(name: &str, places: &Places, program: PathBuf) -> Result<Self, http::Error> {
        let records = places.records(name);
        let processes = process::Processes::new(records.join("processes"), program);
        let systems = Systems::new(http::Client::new()?, processes, places.units(), places.known_artifacts());
        Ok(Self { name: name.to_owned(), history: History::new(records), systems })
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choices {
    /// Stop at the first failure instead of going on with what does not depend on it.
    pub fail_fast: bool,
    /// Keep nothing of earlier generations: models and environments go too.
    pub purge: bool,
}

/// How a turn ended.
#[derive(Debug)]
pub struct Finished {
    /// The generation that it made.
    pub generation: u64,
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
    let observed = observe(&stack.systems, &wish.desired, &inventory, depth).await;
    let plan = plan(&wish.desired, &observed, &past);
    Ok(Prepared { wish, observed, past, plan, inventory })
}

/// Walks a plan to its end: committed, gone back, or stuck. The lock must be held.
pub async fn execute(
    stack: &Stack,
    prepared: Prepared,
    choices: Choices,
    report: &Report<'_>,
    cancel: &CancellationToken,
) -> Result<Finished, history::Error> {
    let Prepared { mut wish, observed, past, plan, inventory } = prepared;
    wish.leftover = leftover(&wish.desired, &observed, &inventory);
    let number = stack.history.begin(&wish)?;
    let tolerated = unhealthy_before(&wish.desired, &observed, &past);

    let mut inventory = inventory;
    inventory.extend(wish.desired.resources.values().cloned());
    let systems = &stack.systems;
    let scene = Scene { desired: &wish.desired, inventory: &inventory, systems, report, cancel };
    let mut walked = walk(scene, &plan, Phase::Stage, &tolerated, choices.fail_fast).await;
    if !walked.succeeded() {
        // Nothing that runs was touched: there is nothing to go back from.
        walked.steps.extend(not_attempted(&plan, Phase::Switch));
        let ending = if walked.interrupted { Ending::Interrupted } else { Ending::Abandoned };
        return finish(stack, number, ending, walked, back::Back::default());
    }
    let wish = learn(&wish);
    stack.history.rewrite(number, &wish)?;
    let scene = Scene { desired: &wish.desired, ..scene };
    walked.extend(walk(scene, &plan, Phase::Switch, &tolerated, choices.fail_fast).await);
    if walked.succeeded() {
        let failures = gate(scene, &started(&plan), &tolerated).await;
        walked.interrupted |= cancel.is_cancelled() && failures.is_empty();
        walked.failures.extend(failures);
    }
    if walked.interrupted {
        return finish(stack, number, Ending::Interrupted, walked, back::Back::default());
    }
    if !walked.failures.is_empty() {
        if !wish.desired.policy.rollback {
            return finish(stack, number, Ending::Stuck, walked, back::Back::default());
        }
        let back = back::go_back(stack, report).await?;
        let ending = if back.walk.succeeded() { Ending::RolledBack } else { Ending::Stuck };
        return finish(stack, number, ending, walked, back);
    }
    walked.unhealthy_before.extend(still_unhealthy(scene, &tolerated).await);
    stack.history.commit(number, &outcome(Ending::Committed, &walked, &[]))?;
    report(Event::Committed { generation: number });
    let cleared = walk(scene, &plan, Phase::Prune, &BTreeSet::new(), false).await;
    let mut back = back::Back::default();
    back.walk.failures.clone_from(&cleared.failures);
    walked.steps.extend(cleared.steps);
    let finished = finish(stack, number, Ending::Committed, walked, back)?;
    stack.history.trim()?;
    Ok(finished)
}

/// Returns what earlier generations made, is not known to be gone, and is not part of this wish.
fn leftover(desired: &Desired, observed: &Observed, inventory: &[Resource]) -> Vec<Resource> {
    let there = |resource: &&Resource| !matches!(observed.things.get(&resource.id), None | Some(Seen::Absent));
    let other = |resource: &&Resource| !desired.resources.contains_key(&resource.id);
    inventory.iter().filter(there).filter(other).cloned().collect()
}

fn finish(
    stack: &Stack,
    number: u64,
    ending: Ending,
    walked: Walk,
    back: back::Back,
) -> Result<Finished, history::Error> {
    let outcome = outcome(ending, &walked, &back.walk.steps);
    stack.history.end(number, &outcome)?;
    let current = stack.history.current()?;
    Ok(Finished { generation: number, outcome, failures: walked.failures, later_failures: back.walk.failures, current })
}

fn outcome(ending: Ending, walked: &Walk, way_back: &[StepOutcome]) -> Outcome {
    Outcome {
        ending,
        ended: clock::now(),
        steps: walked.steps.clone(),
        way_back: way_back.to_vec(),
        unhealthy_before: walked.unhealthy_before.iter().cloned().collect(),
        start_times: walked.start_times.clone(),
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
        .filter(|(_, found)| {
            matches!(found.phase, Running::Failed | Running::BackingOff)
                || matches!(found.health, Some(Health::Unhealthy { .. } | Health::Unreachable { .. }))
        })
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

/// Returns the wish with note taken of secrets that were made while staging.
fn learn(wish: &Wish) -> Wish {
    let references: BTreeSet<SecretReference> = wish
        .desired
        .resources
        .values()
        .filter_map(|resource| if let Spec::File(file) = &resource.spec { Some(&file.content.0) } else { None })
        .flatten()
        .filter_map(|piece| if let Piece::Secret { reference, .. } = piece { Some(reference.clone()) } else { None })
        .collect();
    let digests: BTreeMap<_, _> = references
        .into_iter()
        .filter_map(|reference| Some((reference.clone(), secrets::digest(&secrets::resolve(&reference).ok()?))))
        .collect();
    let mut learned = wish.clone();
    learned.desired.learn_secrets(&digests);
    learned
}
