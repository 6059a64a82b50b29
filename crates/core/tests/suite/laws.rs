//! The laws of the planner, tried on generated stacks and machines without touching one.
//!
//! Steps are executed in the planner's own model of the machine. The tests of the adapters show that the model is
//! accurate.

mod generate;
mod identities;

use generate::{STACK, Scenario, any_machine, any_policy, committed, inspect, undisturbed, undisturbed_under};
use llamero_core::live::RunState::Running;
use llamero_core::live::{Effective, Live, LiveRun, Managed, Observation, Override, Presence};
use llamero_core::plan::{Action, Cause, PartCall, Past, Phase, Plan, Step, StepId, foresee, foresee_all, plan};
use llamero_core::resolve::{Desired, Drift, Policy};
use llamero_core::resource::{Kind, Resource, ResourceId, Spec};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::{BTreeMap, BTreeSet};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Returns the steps in one of the orders that they allow.
fn shuffled<'a>(plan: &'a Plan, options: &[u8]) -> Vec<&'a Step> {
    let mut options = options.iter().cycle();
    let mut done: BTreeSet<StepId> = BTreeSet::new();
    let mut order = Vec::new();
    for phase in [Phase::Stage, Phase::Switch, Phase::Prune] {
        let mut rest: Vec<&Step> = plan.steps.iter().filter(|step| step.phase == phase).collect();
        while !rest.is_empty() {
            let ready = |step: &Step| step.after.iter().all(|before| done.contains(before));
            let ready: Vec<usize> = (0..rest.len()).filter(|index| ready(rest[*index])).collect();
            assert!(!ready.is_empty(), "no step can come next: {rest:?}");
            let choice = usize::from(*options.next().expect("choices without end"));
            let step = rest.remove(ready[choice % ready.len()]);
            done.insert(step.id);
            order.push(step);
        }
    }
    order
}

/// Executes to the end with the scenario's interruptions, and plans again after each. Passes every state to `each`.
fn walk_with_cuts(scenario: &Scenario, mut each: impl FnMut(&Observation)) -> Observation {
    let Scenario { now, options, cuts, .. } = scenario;
    let mut observed = scenario.observed.clone();
    let mut past = scenario.past.clone();
    each(&observed);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let plan = plan(now, &inspect(now, observed.clone()), &past);
        let order = shuffled(&plan, options);
        for step in order.iter().take(cut) {
            observed = foresee(now, observed, step);
            each(&observed);
        }
        // The generation is committed once it stands, and before anything is cleared away.
        if plan.refusals.is_empty() && order.iter().skip(cut).all(|step| step.phase == Phase::Prune) {
            past = scenario.committed_past();
        }
    }
    observed
}

/// Returns what is managed: every declared resource, and the holder of each port.
fn only_managed(desired: &Desired, observed: Observation) -> Observation {
    let mut observed = inspect(desired, observed).steady();
    observed.resources.retain(|id, _| desired.resources.contains_key(id));
    observed.ports.values_mut().for_each(|holder| holder.command.clear());
    // An unused network stays until something else is to be done.
    observed.networks.clear();
    observed.prerequisites.clear();
    // How many hand-offs it took is of no matter.
    observed
        .instances
        .retain(|id, _| desired.resources.get(id).and_then(Resource::run).is_some_and(|run| run.socket_handoff));
    for instances in observed.instances.values_mut() {
        (instances.current, instances.next) = (instances.current.map(|_| 1), 2);
    }
    observed
}

/// Returns what will be seen once every server that its runtime tries to bring back is back: a plan leaves those alone,
/// and which ports they listen on follows from what they run. A digest without a request is a fact only.
fn in_the_end(desired: &Desired, mut observed: Observation) -> Observation {
    for (id, presence) in &mut observed.resources {
        match (presence, desired.resources.get(id).map(|resource| &resource.spec)) {
            (Presence::Present(Live::Run(run)), _) if run.is_up() => {
                run.phase = Running;
                run.why = None;
            }
            (Presence::Present(Live::Artifact { sha256, .. }), Some(Spec::Artifact(artifact))) => {
                *sha256 = sha256.take().filter(|_| artifact.sha256.is_some());
            }
            _ => {}
        }
    }
    observed.ports.clear();
    observed
}

/// Returns what is ours and neither declared nor kept.
fn leftovers(desired: &Desired, past: &Past, observed: &Observation) -> Vec<ResourceId> {
    let managed = observed.resources.iter().filter(|(id, presence)| Managed::prove(STACK, id, presence).is_some());
    let undeclared = managed.filter(|(id, _)| !desired.resources.contains_key(id) && !past.keep.contains(id));
    undeclared.map(|(id, _)| id.clone()).collect()
}

/// Returns whether `seen` stands there and is not this stack's to change.
fn is_foreign(id: &ResourceId, presence: &Presence) -> bool {
    matches!(presence, Presence::Present(_)) && id.kind != Kind::Secret && Managed::prove(STACK, id, presence).is_none()
}

/// Returns whether `action` changes the thing that it is about.
fn touches(action: &Action) -> bool {
    !matches!(action, Action::VerifyArtifact(_) | Action::AwaitHealthy(_) | Action::ReloadManager(_))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn converges(scenario in undisturbed()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let first = plan(now, observed, past);
        prop_assert_eq!(&first.refusals, &[]);
        let after = foresee_all(now, observed, &first);
        let second = plan(now, &after, &scenario.committed_past());
        prop_assert!(second.is_empty() && second.changes.is_empty(), "{:#?}", second);
        prop_assert_eq!(leftovers(now, past, &after), vec![]);
    }

    #[test]
    fn converges_under_any_policy(scenario in any_policy()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let first = plan(now, observed, past);
        // What is refused is never committed.
        prop_assume!(first.refusals.is_empty());
        let after = foresee_all(now, observed, &first);
        let second = plan(now, &after, &scenario.committed_past());
        prop_assert!(second.is_empty(), "{:#?}", second);
    }

    #[test]
    fn is_deterministic(scenario in any_machine()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let backwards = Desired { resources: now.resources.clone().into_iter().rev().collect(), ..now.clone() };
        let resources: BTreeMap<ResourceId, Presence> = observed.resources.clone().into_iter().rev().collect();
        let seen_backwards = Observation { resources, ..observed.clone() };
        let bytes = |plan: &Plan| serde_json::to_vec(plan).expect("a plan is plain data");
        let plans = [
            plan(now, observed, past),
            plan(now, observed, past),
            plan(&backwards, &seen_backwards, past),
        ];
        prop_assert_eq!(bytes(&plans[0]), bytes(&plans[1]));
        prop_assert_eq!(bytes(&plans[0]), bytes(&plans[2]));
    }

    #[test]
    fn survives(scenario in undisturbed()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let whole = foresee_all(now, observed, &plan(now, observed, past));
        let cut = walk_with_cuts(&scenario, |_| {});
        prop_assert_eq!(leftovers(now, past, &cut), vec![]);
        prop_assert_eq!(only_managed(now, cut), only_managed(now, whole));
    }

    /// What was left down by an apply that was cut off is not drift: it comes up again, also where drift is left.
    #[test]
    fn resumes_under_drift_warn(scenario in undisturbed_under(Policy { drift: Drift::Warn, ..Policy::default() })) {
        let Scenario { now, observed, past, .. } = &scenario;
        let whole = foresee_all(now, observed, &plan(now, observed, past));
        let cut = walk_with_cuts(&scenario, |_| {});
        for (resource, _) in now.runs() {
            if past.committed.get(&resource.id) != Some(&resource.fields()) {
                let up = |observed: &Observation| observed.run(&resource.id).is_some_and(LiveRun::is_up);
                prop_assert_eq!(up(&whole), up(&cut), "{}", resource.id);
            }
        }
    }

    #[test]
    fn changes_only_managed_resources(scenario in any_machine()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let plan = plan(now, observed, past);
        for step in &plan.steps {
            let presence = step.action.on().and_then(|id| Some((id, observed.resources.get(id)?)));
            let foreign = presence.is_some_and(|(id, presence)| is_foreign(id, presence));
            prop_assert!(!(foreign && touches(&step.action)), "{} touches what is not ours", step);
        }
        for id in now.resources.keys() {
            let occupied = matches!(id.kind, Kind::File | Kind::Unit | Kind::Process | Kind::Container)
                && observed.resources.get(id).is_some_and(|presence| is_foreign(id, presence));
            if occupied {
                prop_assert!(plan.refusals.iter().any(|refusal| refusal.on == *id), "{} is not refused", id);
                prop_assert!(plan.steps.is_empty());
            }
        }
        if !now.policy.prune {
            for step in &plan.steps {
                // A container whose place another has taken is part of that one's making.
                let previous = matches!(step.action, Action::RemovePrevious(_) | Action::RemoveAside { .. });
                prop_assert!(previous || step.phase != Phase::Prune, "{} removes though nothing is pruned", step);
            }
        }
    }

    #[test]
    fn a_drop_in_changes_no_step(scenario in any_machine()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let mut overridden = observed.clone();
        for presence in overridden.resources.values_mut() {
            if let Presence::Present(Live::Run(run)) = presence {
                let settings = vec!["ExecStart".to_owned(), "MemoryMax".to_owned()];
                run.effective.overrides.push(Override { path: "/home/ai/mine.conf".into(), settings });
                run.effective.values.insert(Effective::COMMAND.to_owned(), Effective::digested("other"));
            }
        }
        let (plain, reported) = (plan(now, observed, past), plan(now, &overridden, past));
        prop_assert_eq!(&plain.steps, &reported.steps);
        prop_assert_eq!(plain.refusals, reported.refusals);
        let more = reported.changes.iter().filter(|change| !plain.changes.iter().any(|plain| plain.on == change.on));
        prop_assert!(more.into_iter().all(|change| change.left));
    }

    #[test]
    fn fits(scenario in any_policy()) {
        let budget = scenario.now.memory.map_or(u64::MAX, |memory| memory.0);
        let mut most = 0;
        walk_with_cuts(&scenario, |observed| {
            most = most.max(scenario.taken(observed).map(|(_, taken)| taken.memory).sum());
        });
        prop_assert!(most <= budget, "{} of {} bytes are taken", most, budget);
    }

    #[test]
    fn shares_no_port(scenario in any_policy()) {
        let mut clash = None;
        walk_with_cuts(&scenario, |observed| {
            let mut holders: BTreeMap<u16, ResourceId> = BTreeMap::new();
            for (id, taken) in scenario.taken(observed) {
                for port in taken.ports {
                    if let Some(other) = holders.insert(port, id.clone()) {
                        clash.get_or_insert((port, other, id.clone()));
                    }
                }
            }
        });
        prop_assert_eq!(clash, None);
    }

    #[test]
    fn unknown_is_not_absent(scenario in any_machine()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let plan = plan(now, observed, past);
        for (id, _) in observed.resources.iter().filter(|(_, presence)| matches!(presence, Presence::Unknown(_))) {
            prop_assert!(plan.steps.iter().all(|step| step.action.on() != Some(id)), "{} is touched", id);
            if now.resources.contains_key(id) {
                prop_assert!(plan.refusals.iter().any(|refusal| refusal.on == *id), "{} is not refused", id);
                prop_assert!(plan.steps.is_empty());
            }
        }
    }

    #[test]
    fn returns(scenario in undisturbed()) {
        let Scenario { before, now, observed, past, .. } = &scenario;
        let (mut observed, mut past) = (observed.clone(), past.clone());
        let mut ends = Vec::new();
        for desired in [before, now, before] {
            observed = inspect(desired, observed);
            let plan = plan(desired, &observed, &past);
            prop_assert_eq!(&plan.refusals, &[]);
            observed = foresee_all(desired, &observed, &plan);
            past.learn(desired.resources.values());
            past.committed = committed(desired);
            ends.push(in_the_end(desired, only_managed(desired, observed.clone())));
        }
        prop_assert_eq!(&ends[0], &ends[2]);
    }

    /// A plan for the committed generation repairs an interrupted apply, also under `drift: warn`.
    #[test]
    fn rolls_back_under_drift_warn(scenario in undisturbed_under(Policy { drift: Drift::Warn, ..Policy::default() })) {
        let Scenario { before, now, options, cuts, .. } = &scenario;
        // From a machine on which the generation before stands and was committed.
        let correct = Desired { policy: Policy::default(), ..before.clone() };
        let start = inspect(&correct, scenario.observed.clone());
        let start = foresee_all(&correct, &start, &plan(&correct, &start, &scenario.past));
        let forward = plan(now, &inspect(now, start.clone()), &scenario.past);
        let switch: Vec<&Step> =
            shuffled(&forward, options).into_iter().filter(|step| step.phase != Phase::Prune).collect();
        let cut = cuts.first().copied().unwrap_or(usize::MAX);
        let half = switch.iter().take(cut).fold(start, |observed, step| foresee(now, observed, step));
        let half = inspect(before, half);
        let after = foresee_all(before, &half, &plan(before, &half, &scenario.past));
        for (resource, _) in before.runs() {
            let run = after.run(&resource.id);
            let written = run.and_then(|run| run.definition.as_ref()).map(|claim| claim.fingerprint.clone());
            prop_assert_eq!(written, Some(resource.fingerprint()), "{}", resource.id);
            let running = run.filter(|run| run.is_up()).and_then(|run| run.running.clone());
            prop_assert!(running.is_none_or(|running| running == resource.fingerprint()), "{}", resource.id);
        }
    }

    #[test]
    fn steps_are_well_formed(scenario in any_machine()) {
        let Scenario { now, observed, past, .. } = &scenario;
        let plan = plan(now, observed, past);
        for (index, step) in plan.steps.iter().enumerate() {
            prop_assert_eq!(step.id, StepId(index));
            for before in &step.after {
                prop_assert!(before.0 < index, "{} waits for a later step", step);
                prop_assert_eq!(plan.steps[before.0].phase, step.phase, "{} waits across phases", step);
            }
        }
        let phases: Vec<Phase> = plan.steps.iter().map(|step| step.phase).collect();
        prop_assert!(phases.is_sorted());
        prop_assert!(plan.refusals.is_empty() || plan.steps.is_empty());
    }

    #[test]
    fn starts_dependencies_first(scenario in undisturbed()) {
        let Scenario { now, observed, past, options, .. } = &scenario;
        let plan = plan(now, observed, past);
        let order = shuffled(&plan, options);
        let starts = |step: &&Step, id: &ResourceId| match &step.action {
            Action::Start(on) => on == id,
            Action::Restart(managed) => managed.id() == id,
            Action::Part(PartCall::Start(instance)) => instance.server == *id,
            _ => false,
        };
        for (at, step) in order.iter().enumerate() {
            let Some(id) = step.action.on().filter(|id| starts(step, id)) else { continue };
            for need in &now.resources[id].needs {
                let late = order[at..].iter().any(|step| {
                    let beside =
                        matches!(step.action, Action::Enable(_) | Action::RemovePrevious(_) | Action::RemoveAside { .. });
                    let orphans = matches!(
                        &step.action,
                        Action::Part(PartCall::Drain(_) | PartCall::End { .. } | PartCall::Remove(_))
                    );
                    step.action.on() == Some(need) && !beside && !orphans
                });
                prop_assert!(!late, "{} comes before what makes {}", step, need);
            }
        }
    }

    #[test]
    fn leaves_drift_under_drift_warn(scenario in undisturbed_under(Policy { drift: Drift::Warn, ..Policy::default() })) {
        let Scenario { now, observed, past, .. } = &scenario;
        let plan = plan(now, observed, past);
        for change in &plan.changes {
            let pure = change.causes.iter().all(|cause| matches!(cause, Cause::Drift(_)));
            let steps = plan.steps.iter().filter(|step| step.action.on() == Some(&change.on)).count();
            prop_assert_eq!(change.left, pure, "{:?}", change);
            prop_assert!(!pure || steps == 0, "{:?} is not left", change);
        }
        // What has a step has a cause that is more than drift.
        for id in plan.steps.iter().filter_map(|step| step.action.on()) {
            prop_assert!(plan.changes.iter().any(|change| change.on == *id && !change.left), "{} has no cause", id);
        }
    }
}

/// The generators reach what the laws are about; a law over scenarios that never occur would hold of anything.
#[test]
fn the_generators_reach_every_case() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..1024 {
        let scenario = any_machine().new_tree(&mut runner).expect("a scenario").current();
        let calm = undisturbed().new_tree(&mut runner).expect("a scenario").current();
        for scenario in [&scenario, &calm] {
            let plan = plan(&scenario.now, &scenario.observed, &scenario.past);
            for step in &plan.steps {
                let name = format!("{:?}", step.action);
                let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
                *met.entry(name).or_default() += 1;
            }
            for refusal in &plan.refusals {
                *met.entry(format!("{:?}", refusal.kind)).or_default() += 1;
            }
            let live = |presence: &Presence| matches!(presence, Presence::Present(Live::Run(run)) if run.is_up());
            *met.entry("Up".to_owned()).or_default() +=
                scenario.observed.resources.values().filter(|presence| live(presence)).count();
        }
    }
    let expected = [
        "GenerateSecret",
        "CreateEnvironment",
        "FetchArtifact",
        "VerifyArtifact",
        "WriteFile",
        "Define",
        "ReloadManager",
        "Enable",
        "Prepare",
        "SetAside",
        "Create",
        "RemovePrevious",
        "Start",
        "Restart",
        "Stop",
        "AwaitHealthy",
        "RemoveFile",
        "Part",
        "RemoveServer",
        "RemoveEnvironment",
        "RemoveArtifact",
        "NotOurs",
        "Missing",
        "OverBudget",
        "PortTaken",
        "Unseen",
        "Up",
    ];
    for name in expected {
        let count = met.get(name).copied().unwrap_or_default();
        assert!(count >= 10, "{name} was met {count} times in {met:?}");
    }
}
