//! The laws of what a plan leaves alone, and of what it never takes at once.

use super::config;
use super::generate::{STACK, Scenario, any_machine, any_policy, undisturbed_under};
use super::walk::walk_with_cuts;
use llamero_core::live::{Effective, Live, Managed, Override, Presence};
use llamero_core::plan::{Action, Cause, Phase, plan};
use llamero_core::resolve::{Drift, Policy};
use llamero_core::resource::{Kind, Resource, ResourceId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Returns whether `seen` stands there and is not this stack's to change.
fn is_foreign(id: &ResourceId, presence: &Presence) -> bool {
    matches!(presence, Presence::Present(_)) && id.kind != Kind::Secret && Managed::prove(STACK, id, presence).is_none()
}

/// Returns whether `action` changes the thing that it is about.
fn touches(action: &Action) -> bool {
    !matches!(
        action,
        Action::VerifyArtifact(_) | Action::LoadModel(_) | Action::AwaitHealthy(_) | Action::ReloadManager(_)
    )
}

proptest! {
    #![proptest_config(config())]

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
    fn leaves_drift_under_drift_warn(scenario in undisturbed_under(Policy { drift: Drift::Warn, ..Policy::default() })) {
        let Scenario { now, observed, past, .. } = &scenario;
        let plan = plan(now, observed, past);
        // What is as declared after an interrupted apply is otherwise while a canary is tried.
        let of_trial = |id: &ResourceId| {
            let first = plan.first.as_ref().and_then(|first| first.resources.get(id));
            first.is_some_and(|first| now.resources.get(id).map(Resource::fingerprint) != Some(first.fingerprint()))
        };
        // A server that restarts loads its models again, whether or not they were loaded.
        let steps = plan.steps.iter().filter(|step| !matches!(step.action, Action::LoadModel(_)));
        let touched: BTreeSet<&ResourceId> = steps.filter_map(|step| step.action.on()).collect();
        for change in plan.changes.iter().filter(|change| !of_trial(&change.on)) {
            let pure = change.causes.iter().all(|cause| matches!(cause, Cause::Drift(_)));
            prop_assert_eq!(change.left, pure, "{:?}", change);
            prop_assert!(!(pure && touched.contains(&change.on)), "{:?} is not left", change);
        }
        // What has a step has a cause that is more than drift.
        for id in touched.into_iter().filter(|id| !of_trial(id)) {
            prop_assert!(plan.changes.iter().any(|change| change.on == *id && !change.left), "{} has no cause", id);
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
}
