//! Steps as a user sees them: what happens to one resource in one phase is one thing, whatever calls it takes.

use super::part::PartCall;
use super::result::Plan;
use super::step::{Action, Phase};
use crate::resource::ResourceId;

/// The calls on one resource in one phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they do together, such as `restart unit/home-cache`.
    pub title: String,
    /// The calls, each with the few words that differ from the others.
    pub calls: Vec<(String, &'static str)>,
}

impl Plan {
    /// Returns the steps of a phase in groups, in the order of their first steps. That a manager reads its files again is
    /// part of what changes them, and has no group.
    #[must_use]
    pub fn groups(&self, phase: Phase) -> Vec<Group> {
        let mut groups: Vec<(Option<&ResourceId>, Vec<&Action>)> = Vec::new();
        for step in self.steps.iter().filter(|step| step.phase == phase) {
            let on = match &step.action {
                Action::ReloadManager(_) => continue,
                // It takes minutes, and is what a canary is about.
                Action::Try(_) => None,
                action => action.on(),
            };
            match groups.iter_mut().find(|(other, _)| on.is_some() && *other == on) {
                Some((_, actions)) => actions.push(&step.action),
                None => groups.push((on, vec![&step.action])),
            }
        }
        let group = |(on, actions): (Option<&ResourceId>, Vec<&Action>)| Group {
            title: title(on, &actions),
            calls: actions.iter().map(|action| (action.to_string(), action.words())).collect(),
        };
        groups.into_iter().map(group).collect()
    }
}

/// Returns what several calls on a resource do together: what the most telling of them does.
fn title(on: Option<&ResourceId>, actions: &[&Action]) -> String {
    let (Some(id), [first, _, ..]) = (on, actions) else {
        return actions.first().map(ToString::to_string).unwrap_or_default();
    };
    let any = |telling: fn(&Action) -> bool| actions.iter().any(|action| telling(action));
    let successor = actions.iter().find_map(|action| match action {
        Action::Part(PartCall::MakeCurrent(instance)) => Some(instance.number),
        _ => None,
    });
    let words = match successor {
        Some(number) if any(|action| matches!(action, Action::Part(PartCall::Rehearse(_)))) => {
            return format!("hand {id} over to instance {number}");
        }
        _ if any(|action| matches!(action, Action::Part(PartCall::Rehearse(_)))) => "rehearse",
        _ if actions.iter().all(|action| clears(action)) => "clear orphaned instances of",
        _ if any(removes) && !any(starts) => "remove",
        _ if any(|action| matches!(action, Action::SetAside(_) | Action::Discard(_))) && any(starts) => "replace",
        _ if any(|action| matches!(action, Action::Restore { .. })) => "restore",
        _ if any(|action| matches!(action, Action::Restart(_))) || (any(stops) && any(starts)) => "restart",
        _ if any(starts) => "start",
        _ if any(|action| matches!(action, Action::Wake(_))) => "wake",
        _ if any(stops) => "stop",
        _ if any(|action| matches!(action, Action::PullModel(_))) => "pull",
        _ => first.words(),
    };
    format!("{words} {id}")
}

const fn starts(action: &Action) -> bool {
    matches!(action, Action::Start(_) | Action::Restart(_) | Action::Part(PartCall::Start(_)))
}

const fn stops(action: &Action) -> bool {
    matches!(action, Action::Stop(_) | Action::Part(PartCall::StopSocket { .. } | PartCall::End { .. }))
}

const fn removes(action: &Action) -> bool {
    matches!(action, Action::RemoveServer(_) | Action::Part(PartCall::RemoveName { .. }))
}

/// Returns whether a call may be about an instance that an interrupted hand-off left.
const fn clears(action: &Action) -> bool {
    matches!(action, Action::Part(PartCall::End { .. } | PartCall::Drain(_) | PartCall::Remove(_)))
}
