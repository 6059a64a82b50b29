//! The generators reach what the laws are about: a law over scenarios that never occur would hold of anything.

use super::generate::{STACK, Scenario, any_machine, undisturbed};
use crate::cases::remnants;
use llamero_core::live::{Live, Observation, Presence};
use llamero_core::plan::{Action, PartCall, Plan, RefusalKind, Rollout, plan};
use llamero_core::resolve::{Desired, Policy};
use llamero_core::resource::Resource;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

/// Names the variants of an enum: one that is missing here does not compile, one that is here has to be met.
macro_rules! variants {
    ($all:ident, $name:ident, $of:ident: $($variant:ident)*) => {
        const $all: &[&str] = &[$(concat!(stringify!($of), "::", stringify!($variant))),*];

        fn $name(it: &$of) -> &'static str {
            match it {
                $($of::$variant { .. } => concat!(stringify!($of), "::", stringify!($variant)),)*
            }
        }
    };
}

variants! { ACTIONS, action, Action:
    GenerateSecret CreateEnvironment FetchArtifact VerifyArtifact PullImage Prepare KeepContent PullModel LoadModel
    WriteFile Define ReloadManager Enable SetAside Discard Create Restore Start Restart Part Stop Sleep Wake Try
    AwaitHealthy RemoveFile RemoveServer RemovePrevious RemoveAside RemoveNetwork RemoveImage RemoveEnvironment
    RemoveArtifact RemoveModel Purge
}

variants! { CALLS, call, PartCall:
    DefineSocket EnableSocket StartSocket StopSocket RemoveSocket CloseGate Define LowerWeight Start Rehearse RaiseWeight
    OpenGate MakeCurrent Drain End Remove RemoveName
}

variants! { REFUSALS, refusal, RefusalKind:
    NotOurs Missing Unseen OverBudget PortTaken
}

variants! { ROLLOUTS, rollout, Rollout:
    WithOne WithAll
}

/// How often each is to be met, and in how many scenarios at most.
const OFTEN: usize = 5;
const SCENARIOS: usize = 4096;

/// Returns the plan that removes the previous stack with its records.
fn taken_down(scenario: &Scenario) -> Plan {
    let Scenario { before, observed, past, .. } = scenario;
    let nothing = Desired::nothing(STACK, Policy::default());
    let observed = Observation { remnants: remnants(before), ..observed.clone() };
    let inventory: Vec<Resource> = before.resources.values().cloned().collect();
    plan(&nothing, &observed, past).taking_down(&observed, past, &inventory, true)
}

#[test]
fn the_generators_reach_every_case() {
    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<&'static str, usize> = BTreeMap::new();
    let expected = [ACTIONS, CALLS, REFUSALS, ROLLOUTS, &["Up"]].concat();
    for scenario in 0..SCENARIOS {
        let tree = if scenario % 2 == 0 { any_machine().boxed() } else { undisturbed().boxed() }.new_tree(&mut runner);
        let scenario = tree.expect("a scenario").current();
        let mut meet = |name: &'static str| *met.entry(name).or_default() += 1;
        let plan = plan(&scenario.now, &scenario.observed, &scenario.past);
        for step in plan.steps.iter().chain(&taken_down(&scenario).steps) {
            meet(action(&step.action));
            if let Action::Part(part) = &step.action {
                meet(call(part));
            }
        }
        plan.refusals.iter().for_each(|it| meet(refusal(&it.kind)));
        plan.rollout.iter().for_each(|it| meet(rollout(it)));
        let live = |presence: &&Presence| matches!(presence, Presence::Present(Live::Run(run)) if run.is_up());
        scenario.observed.resources.values().filter(live).for_each(|_| meet("Up"));
        if expected.iter().all(|name| met.get(name).copied().unwrap_or_default() >= OFTEN) {
            return;
        }
    }
    panic!("not everything is met {OFTEN} times: {met:#?}");
}
