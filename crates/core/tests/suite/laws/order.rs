//! The laws of a plan's form and of the order of its steps.

use super::config;
use super::generate::{Scenario, any_machine, undisturbed};
use super::walk::shuffled;
use llamero_core::live::{Observation, Presence};
use llamero_core::plan::{Action, PartCall, Phase, Plan, Step, StepId, plan};
use llamero_core::resolve::Desired;
use llamero_core::resource::ResourceId;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(config())]

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
            // A canary begins from another desired state, with steps of its own.
            let canary = |step: &Step| step.phase == Phase::Canary;
            let asked = plan.first.as_deref().filter(|_| canary(step)).unwrap_or(now);
            for need in &asked.resources[id].needs {
                let late = order[at..].iter().filter(|later| canary(later) == canary(step)).any(|step| {
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
}
