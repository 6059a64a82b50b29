//! What must hold after every episode, named after the statements of the acceptance list.

use crate::apply::name;
use crate::drive::{Before, End, Ended, Run, file_as_declared, revision, runs_as_declared, stack};
use crate::models;
use crate::schedule::{Blow, Episode};
use crate::stacks::{Declaration, STACK};
use crate::timing;
use crate::truth::Truth;
use llamero::history::{Ending, Generation, StepResult};
use llamero::observe::Depth;
use llamero::pace::{self, Next};
use llamero::plan::{Action, Phase, Plan};
use llamero::reconcile::{Finished, Fired, Options, attempt, environment_digest, prepare};
use llamero::resolve::Desired;
use llamero::resource::{Resource, ResourceId, Spec};
use llamero::systems::Retry;
use llamero::systems::clock::Clock;
use llamero::targets::previous;
use std::collections::{BTreeMap, BTreeSet};

/// What the records say.
struct Records {
    current: Option<u64>,
    generations: Vec<Generation>,
    inventory: Vec<Resource>,
    watched: Vec<u64>,
}

fn records(run: &mut Run) -> Option<Records> {
    let records = run.ask(async |world| {
        let history = stack(&world).history;
        Ok::<_, llamero::history::Error>(Records {
            current: history.current()?,
            generations: history.all()?,
            inventory: history.memory()?.inventory,
            watched: history.watched()?,
        })
    });
    match records {
        Ok(records) => Some(records),
        Err(error) => {
            run.sim().violation(format!("A13: the records cannot be read: {error}"));
            None
        }
    }
}

pub(crate) fn after(run: &mut Run, episode: &Episode) {
    let Some(records) = records(run) else { return };
    committed_survives(run, &records);
    inventory_is_a_superset(run, &records);
    nothing_is_left_armed(run);
    foreign_things_stay(run);
    kept_for_rolling_back(run, &records, episode);
    dead_man_ends_it(run, &records, episode);
    timing::answers_a_cancellation_soon(run, episode);
    let good = records.generations.iter().rev().find(|generation| Some(generation.number) == records.current);
    timing::nothing_is_given_up(run, good.map(|good| &good.revision.desired));
    let ends = std::mem::take(&mut run.notes().ends);
    timing::supersedes(run, episode, &ends);
    for ended in &ends {
        if let End::Finished(finished) = &ended.end {
            let (plan, finished, _) = &**finished;
            // What a rehearsal leaves out was never to be attempted.
            if !ended.rehearsed {
                every_step_is_reported_once(run, plan, finished);
            }
            pre_existing_failures_do_not_count(run, finished, &ended.before);
        }
    }
    // With one process alone, its end shows where the machine is.
    if let [ended @ Ended { declaration, end: End::Finished(finished), .. }] = &ends[..] {
        let (_, finished, revision) = &**finished;
        if run.notes().fired.is_empty() {
            let alone = episode.kill.is_none() && episode.cancel.is_none_or(|(_, killed)| !killed);
            if alone || finished.outcome.ending != Ending::Abandoned {
                ends_where_it_says(run, &records, (finished, ended), &revision.desired);
            }
            timing::was_stable(run, &ended.before, finished, &revision.desired);
            remembers_failures(run, episode, ended, finished);
            if finished.outcome.ending == Ending::Committed
                && !finished.interrupted
                && finished.later_failures.is_empty()
            {
                applying_again_does_nothing(run, declaration);
            }
        }
    }
    run.notes().ends = ends;
}

/// A12: what was reported as committed stays committed.
fn committed_survives(run: &Run, records: &Records) {
    let reported = run.notes().committed.last().copied();
    if reported > records.current {
        run.sim().violation(format!(
            "A12: generation {reported:?} was committed, and the records say {:?}",
            records.current
        ));
    }
}

/// A11: everything on the machine that is the stack's is in the inventory.
fn inventory_is_a_superset(run: &Run, records: &Records) {
    let known: BTreeSet<&ResourceId> = records.inventory.iter().map(|resource| &resource.id).collect();
    // What stands aside is known by the server whose name it had.
    let aside: BTreeSet<ResourceId> = known.iter().filter_map(|id| previous(id)).collect();
    let paths: BTreeSet<_> = records.inventory.iter().filter_map(path).collect();
    let mut sim = run.sim();
    let truth = sim.truth.clone();
    let mut unknown: Vec<String> = Vec::new();
    for (id, server) in &truth.servers {
        let managed = server.definition.as_ref().is_some_and(|definition| definition.stack.as_deref() == Some(STACK));
        if managed && !known.contains(id) && !aside.contains(id) {
            unknown.push(id.to_string());
        }
    }
    let files = truth.files.iter().filter_map(|(path, file)| Some((path, &file.owner.as_ref()?.1)));
    unknown.extend(files.filter(|(_, id)| !known.contains(id)).map(|(path, _)| path.display().to_string()));
    let others = truth.environments.keys().chain(truth.artifacts.keys());
    unknown.extend(others.filter(|path| !paths.contains(path)).map(|path| path.display().to_string()));
    unknown.extend(truth.images.iter().filter(|id| !known.contains(id)).map(ToString::to_string));
    if !unknown.is_empty() {
        sim.violation(format!("A11: not in the inventory: {unknown:?}"));
    }
}

fn path(resource: &Resource) -> Option<&std::path::PathBuf> {
    match &resource.spec {
        Spec::Environment(environment) => Some(&environment.path),
        Spec::Artifact(artifact) => Some(&artifact.path),
        _ => None,
    }
}

/// A30: when no process runs any more, no switch is armed.
fn nothing_is_left_armed(run: &Run) {
    let mut sim = run.sim();
    if !sim.switches.is_empty() {
        let armed: Vec<String> = sim.switches.keys().cloned().collect();
        sim.violation(format!("A30: no process runs, and {armed:?} are armed"));
    }
}

/// A7: what is not the stack's is as it was.
fn foreign_things_stay(run: &Run) {
    let before = run.notes().before.clone();
    let mut sim = run.sim();
    let file =
        before.files.iter().find(|(path, file)| file.owner.is_none() && sim.truth.files.get(*path) != Some(file));
    let file = file.map(|(path, _)| path.display().to_string());
    let foreign = |truth: &Truth, id: &ResourceId| {
        truth
            .servers
            .get(id)
            .and_then(|server| server.definition.clone())
            .filter(|definition| definition.stack.is_none())
    };
    let server = before
        .servers
        .keys()
        .find(|id| foreign(&before, id).is_some() && foreign(&before, id) != foreign(&sim.truth, id));
    if let Some(changed) = file.or(server.map(ToString::to_string)) {
        sim.violation(format!("A7: {changed} was another program's, and was changed"));
    }
}

/// A35: what the last committed generations need is there, unless it was taken away by hand.
fn kept_for_rolling_back(run: &Run, records: &Records, _: &Episode) {
    let before = run.notes().before.clone();
    let good = records.generations.iter().rev().filter(|generation| generation.is_committed()).take(2);
    let mut sim = run.sim();
    let mut missing = Vec::new();
    for generation in good {
        for resource in generation.revision.desired.resources.values() {
            let (was, is) = match &resource.spec {
                Spec::Environment(environment) => (
                    before.environments.contains_key(&environment.path),
                    sim.truth.environments.contains_key(&environment.path),
                ),
                Spec::Artifact(artifact) => {
                    (before.artifacts.contains_key(&artifact.path), sim.truth.artifacts.contains_key(&artifact.path))
                }
                Spec::Image(_) => (before.images.contains(&resource.id), sim.truth.images.contains(&resource.id)),
                _ => continue,
            };
            if was && !is {
                missing.push(format!("{} of generation {}", resource.id, generation.number));
            }
        }
    }
    if !missing.is_empty() {
        sim.violation(format!("A35: removed though it may be needed again: {missing:?}"));
    }
}

/// A30: an apply that was killed ends rolled back or committed all the same.
fn dead_man_ends_it(run: &Run, records: &Records, episode: &Episode) {
    let killed = episode.kill.is_some_and(|(_, power)| !power) && run.notes().ends.is_empty();
    let second = episode.second.is_some() || matches!(episode.blow, Some((_, Blow::Second(_) | Blow::Supersede(_))));
    let hindered = episode.kill_switch.is_some() || episode.full.is_some() || second || episode.blind.is_some();
    let fired = !run.notes().fired.is_empty();
    if !killed || hindered || !fired {
        return;
    }
    let open = records.generations.last().filter(|last| last.outcome.is_none());
    let errors: Vec<String> = run.notes().fired.iter().filter_map(|(_, fired)| fired.clone().err()).collect();
    if let Some(open) = open {
        run.sim().violation(format!("A30: generation {} was left without an outcome {errors:?}", open.number));
    }
    if run.notes().fired.iter().any(|(_, fired)| *fired == Ok(Fired::RolledBack)) {
        let good = records.generations.iter().rev().find(|generation| Some(generation.number) == records.current);
        let nothing =
            records.generations.last().map(|last| Desired::nothing(STACK, last.revision.desired.policy.clone()));
        let desired = good.map(|good| &good.revision.desired).or(nothing.as_ref());
        let excused = run.notes().preexisting.clone();
        let mut sim = run.sim();
        let now = sim.now;
        sim.truth.advance(now);
        let wrong = desired.map(|desired| differs(&sim.truth, desired, &excused.iter().collect(), true));
        if let Some(wrong) = wrong.filter(|wrong| !wrong.is_empty()) {
            sim.violation(format!("A30: the switch rolled back, and {wrong:?}"));
        }
    }
    if !records.watched.is_empty() {
        run.sim().violation(format!("A30: {:?} are still watched over", records.watched));
    }
}

/// A16: every step of the plan is reported exactly once.
fn every_step_is_reported_once(run: &Run, plan: &Plan, finished: &Finished) {
    let mut counts: BTreeMap<String, i32> = BTreeMap::new();
    for step in &plan.steps {
        *counts.entry(step.action.to_string()).or_default() += 1;
    }
    for step in &finished.outcome.steps {
        *counts.entry(step.step.clone()).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    if !counts.is_empty() {
        let ending = finished.outcome.ending;
        run.sim().violation(format!("A16: {ending:?}: steps that are not reported exactly once: {counts:?}"));
    }
}

/// A28: what was unhealthy before is not why it failed.
fn pre_existing_failures_do_not_count(run: &Run, finished: &Finished, before: &Before) {
    // What the plan touched was started anew, and that it could be is part of the change.
    let touched = |id: &ResourceId| {
        finished
            .outcome
            .steps
            .iter()
            .any(|step| step.step.ends_with(&id.to_string()) && step.result != StepResult::NotAttempted)
    };
    // One that was started since an apply that died began may be unhealthy because of that apply.
    let since =
        |id: &ResourceId| {
            let process = before.servers.get(id).and_then(|server| server.process.as_ref());
            before.died.as_ref().zip(process).is_some_and(|(starts, process)| {
                starts.get(id).is_none_or(|start| *start != process.number.to_string())
            })
        };
    let preexisting: BTreeSet<&ResourceId> = before.preexisting.iter().filter(|id| !since(id)).collect();
    let blamed = finished.failures.iter().filter_map(|failure| failure.on.as_ref());
    let blamed: Vec<String> =
        blamed.filter(|id| preexisting.contains(id) && !touched(id)).map(ToString::to_string).collect();
    if !blamed.is_empty() {
        run.sim().violation(format!("A28: unhealthy before and blamed all the same: {blamed:?}"));
    }
}

/// A24, A29, A31, A32: the machine is where the outcome says.
fn ends_where_it_says(run: &Run, records: &Records, (finished, ended): (&Finished, &Ended), desired: &Desired) {
    let good = records.generations.iter().rev().find(|generation| Some(generation.number) == records.current);
    let Ended { before: Before { preexisting, .. }, truth, .. } = ended;
    let excused: BTreeSet<&ResourceId> = finished.outcome.unhealthy_before.iter().chain(preexisting).collect();
    let mut wrong = Vec::new();
    let models_removed = run.sim().models_removed;
    let mut compare = |desired: &Desired, strict: bool| {
        // Those that were removed by hand while their server was down are missed once it is up.
        let model = |text: &String| models_removed && text.starts_with("model/");
        wrong.extend(differs(truth, desired, &excused, strict).into_iter().filter(|text| !model(text)));
    };
    match finished.outcome.ending {
        Ending::Committed => {
            let learned = records.generations.last().map(|last| last.revision.desired.clone());
            if desired.policy.drift == llamero::resolve::Drift::Correct {
                compare(&learned.unwrap_or_else(|| desired.clone()), true);
            }
            if records.current != Some(finished.generation) {
                wrong.push(format!("the records say {:?}", records.current));
            }
        }
        Ending::RolledBack if !ended.rehearsed => {
            let nothing = Desired::nothing(STACK, desired.policy.clone());
            let good = good.map_or(&nothing, |good| &good.revision.desired);
            compare(good, true);
            let orphans: BTreeSet<ResourceId> = records
                .generations
                .last()
                .into_iter()
                .flat_map(|last| &last.revision.orphans)
                .map(|resource| resource.id.clone())
                .collect();
            for (id, server) in &truth.servers {
                let managed =
                    server.definition.as_ref().is_some_and(|definition| definition.stack.as_deref() == Some(STACK));
                if managed && !good.resources.contains_key(id) && !orphans.contains(id) {
                    wrong.push(format!("{id} is left of what failed"));
                }
            }
            if finished.failures.is_empty() {
                wrong.push("nothing failed".to_owned());
            }
        }
        Ending::Stuck if finished.failures.is_empty() && finished.later_failures.is_empty() => {
            wrong.push("nothing failed".to_owned());
        }
        Ending::Rehearsed | Ending::RolledBack => {
            let before = &run.notes().before;
            for (id, server) in &truth.servers {
                if before.servers.get(id).map(|server| &server.definition) != Some(&server.definition) {
                    wrong.push(format!("{id} was changed by a rehearsal"));
                }
                // One that an earlier apply left is no part of the rehearsal.
                let left = before.servers.get(id).map(|server| &server.others);
                if server.others.keys().any(|number| left.is_none_or(|left| !left.contains_key(number))) {
                    wrong.push(format!("a rehearsed instance of {id} is left"));
                }
            }
        }
        Ending::Abandoned => {
            let before = &run.notes().before;
            if before.files != truth.files {
                wrong.push("files were changed before anything was to be touched".to_owned());
            }
            for (id, server) in &before.servers {
                let is = truth.servers.get(id);
                if is.map(|server| &server.definition) != Some(&server.definition) {
                    wrong.push(format!("{id} was changed before anything was to be touched"));
                }
            }
        }
        _ => {}
    }
    if !wrong.is_empty() {
        run.sim().violation(format!("A24/A29/A32: {:?}, and {wrong:?}", finished.outcome.ending));
    }
}

/// Returns what is not as declared.
fn differs(truth: &Truth, desired: &Desired, excused: &BTreeSet<&ResourceId>, strict: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for resource in desired.resources.values() {
        let fingerprint = resource.fingerprint();
        let live = match &resource.spec {
            Spec::Run(_) if excused.contains(&resource.id) => true,
            Spec::Run(_) => runs_as_declared(truth, &resource.id, &fingerprint),
            Spec::Model(model) => truth.models.tags.contains_key(&(model.endpoint.clone(), model.name.shortest())),
            spec => file_as_declared(truth, spec, &fingerprint),
        };
        if !live && (strict || !matches!(resource.spec, Spec::Run(_))) {
            wrong.push(format!("{} is not as declared", resource.id));
        }
    }
    wrong
}

/// A33, A34: what failed for good is not tried again unasked, and what succeeded is.
fn remembers_failures(run: &mut Run, episode: &Episode, ended: &Ended, finished: &Finished) {
    if episode.full.is_some() {
        return;
    }
    let resolved = run.resolved(&ended.declaration);
    let next = run.ask(async move |world| {
        let revision = revision(&resolved);
        let attempt = attempt(&revision).expect("a manifest says it");
        let quarantine = stack(&world).history.quarantine().ok()?;
        Some(pace::next(&quarantine, &attempt, &environment_digest(&revision), world.seconds()))
    });
    let transient = finished.failures.iter().all(|failure| failure.retry == Retry::Soon);
    let expected = |next: &Next| match finished.outcome.ending {
        Ending::Committed => *next == Next::Try,
        Ending::Abandoned | Ending::RolledBack | Ending::Stuck if transient => {
            // What failed for good before stays on record until it succeeds.
            ended.before.quarantined || !matches!(next, Next::Quarantined(_))
        }
        Ending::Abandoned | Ending::RolledBack | Ending::Stuck => matches!(next, Next::Quarantined(_)),
        Ending::Interrupted | Ending::Rehearsed => true,
    };
    match next {
        Some(next) if expected(&next) => {}
        next => {
            let ending = finished.outcome.ending;
            run.sim().violation(format!("A33: after {ending:?} the loop would do {next:?}"));
        }
    }
}

/// A4: after a success there is nothing to do.
fn applying_again_does_nothing(run: &mut Run, declaration: &Declaration) {
    let resolved = run.resolved(declaration);
    let now = run.sim().now;
    run.sim().truth.advance(now);
    let truth = run.sim().truth.clone();
    let healthy = resolved
        .desired
        .runs()
        .all(|(resource, _)| truth.servers.get(&resource.id).is_some_and(|it| it.is_healthy(now)));
    if declaration.warn || !healthy {
        return;
    }
    // What a server had loaded is gone when it dies by itself.
    let begun = run.sim().begun;
    let desired = resolved.desired.clone();
    let unloaded = |action: &Action| match action {
        Action::LoadModel(id) => {
            let model = desired.resources.get(id).and_then(Resource::model);
            model.is_some_and(|model| models::began_again(&truth, &model.endpoint, begun))
        }
        _ => false,
    };
    let served = run.notes().served;
    let plan = run.ask(async move |world| {
        let stack = stack(&world);
        let prepared = prepare(&stack, revision(&resolved), Depth::Health, Options::default()).await;
        prepared.map(|prepared| prepared.plan).map_err(|error| error.to_string())
    });
    match plan {
        Ok(plan) if plan.steps.iter().all(|step| step.phase == Phase::Prune && !declaration.prune) => {}
        // What was left on a server that did not run could not be seen, nor a record of what was removed by hand.
        Ok(plan)
            if plan.steps.iter().all(|step| step.phase == Phase::Prune)
                && (run.sim().models_removed
                    || (!served && plan.steps.iter().any(|step| matches!(step.action, Action::RemoveModel(_))))) => {}
        Ok(plan) if plan.steps.iter().all(|step| unloaded(&step.action)) => {}
        Ok(plan) => {
            let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
            run.sim().violation(format!("A4: applying again would do {steps:?} {:?}", plan.refusals));
        }
        Err(error) => run.sim().violation(format!("A4: {error}")),
    }
}

/// A11: once nothing stands in the way, applying succeeds, and applying again does nothing.
pub(crate) fn healed(run: &mut Run, episode: &Episode) {
    if !run.sim().violations.is_empty() {
        return;
    }
    let end = run.notes().ends.first().map(|ended| name(&ended.end)).unwrap_or_default();
    if end != "Committed" && end != "Nothing" {
        run.sim().violation(format!("A11: with nothing in the way, applying ends as {end}"));
        return;
    }
    applying_again_does_nothing(run, &episode.declaration);
}
