//! The ways from one observation to another: plans executed in the planner's own model of the machine, in any order that
//! their steps allow, whole or cut off.

use super::generate::{STACK, Scenario, inspect};
use llamero_core::live::RunState::Running;
use llamero_core::live::{Live, Managed, Observation, Presence};
use llamero_core::plan::{Past, Phase, Plan, Step, StepId, foresee, plan};
use llamero_core::resolve::Desired;
use llamero_core::resource::{Resource, ResourceId, Spec};
use std::collections::BTreeSet;

/// Returns the steps in one of the orders that they allow.
pub(super) fn shuffled<'a>(plan: &'a Plan, options: &[u8]) -> Vec<&'a Step> {
    let mut options = options.iter().cycle();
    let mut done: BTreeSet<StepId> = BTreeSet::new();
    let mut order = Vec::new();
    for phase in [Phase::Stage, Phase::Canary, Phase::Switch, Phase::Prune] {
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

/// Returns the observation after `step` of `plan`: until a canary has been tried, another state than `now` is desired.
pub(super) fn expect_step(plan: &Plan, now: &Desired, observed: Observation, step: &Step) -> Observation {
    let first = plan.first.as_deref().filter(|_| step.phase == Phase::Canary);
    foresee(first.unwrap_or(now), observed, step)
}

/// Executes to the end with the scenario's interruptions, and plans again after each. Passes every state to `each`.
pub(super) fn walk_with_cuts(scenario: &Scenario, mut each: impl FnMut(&Observation)) -> Observation {
    let Scenario { now, options, cuts, .. } = scenario;
    let mut observed = scenario.observed.clone();
    let mut past = scenario.past.clone();
    each(&observed);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let plan = plan(now, &inspect(now, observed.clone()), &past);
        let order = shuffled(&plan, options);
        for step in order.iter().take(cut) {
            observed = expect_step(&plan, now, observed, step);
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
pub(super) fn only_managed(desired: &Desired, observed: Observation) -> Observation {
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
pub(super) fn in_the_end(desired: &Desired, mut observed: Observation) -> Observation {
    for (id, presence) in &mut observed.resources {
        match (presence, desired.resources.get(id).map(|resource| &resource.spec)) {
            (Presence::Present(Live::Run(run)), _) if run.is_up() => {
                run.phase = Running;
                run.why = None;
            }
            // Whether a server answered when it was asked, and what it has loaded unasked, are facts only.
            (Presence::Present(Live::Model { loaded, unserved, .. }), Some(Spec::Model(model))) => {
                (*loaded, *unserved) = (*loaded && model.pinned, false);
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
pub(super) fn leftovers(desired: &Desired, past: &Past, observed: &Observation) -> Vec<ResourceId> {
    let managed = observed.resources.iter().filter(|(id, presence)| Managed::prove(STACK, id, presence).is_some());
    // Only its server removes a model: one whose server does not answer stays on record.
    let managed =
        managed.filter(|(_, presence)| !matches!(presence, Presence::Present(Live::Model { unserved: true, .. })));
    let undeclared = managed.filter(|(id, _)| !desired.resources.contains_key(id) && !past.keep.contains(id));
    undeclared.map(|(id, _)| id.clone()).collect()
}
