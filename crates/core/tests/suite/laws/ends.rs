//! The laws of where plans lead: to the desired state, from any machine, after any interruption, and back.

use super::config;
use super::generate::{Scenario, any_policy, inspect, undisturbed, undisturbed_under};
use super::walk::{expect_step, in_the_end, leftovers, only_managed, shuffled, walk_with_cuts};
use crate::given::past as past_of;
use llamero_core::live::{LiveRun, Observation};
use llamero_core::plan::{Past, Phase, Step, foresee_all, plan};
use llamero_core::resolve::{Desired, Drift, Policy};
use proptest::prelude::*;

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
            let Past { committed, contents, previous, .. } = past_of(desired);
            past = Past { committed, contents, previous, ..past };
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
        let half = switch.iter().take(cut).fold(start, |observed, step| expect_step(&forward, now, observed, step));
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
}
