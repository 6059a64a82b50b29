//! The prune phase: what is no longer declared stops and is removed, once the new generation is verified.

use super::basis::{Basis, loads_definitions};
use super::ends::Ends;
use super::prerequisites::unused_networks;
use super::steps::Steps;
use crate::live::Managed;
use crate::plan::compare::Remedy;
use crate::plan::step::{Action, Phase, Step, StepId};
use crate::resource::{Kind, ResourceId};
use std::collections::BTreeMap;

/// Adds the steps that remove what is no longer declared.
pub(super) fn prune<'a>(basis: &'a Basis<'a>, steps: &mut Steps<'a>) {
    let ends = Ends { basis, phase: Phase::Prune };
    let mut gone: Vec<(&Managed, bool)> = basis
        .remedies
        .values()
        .filter_map(|remedy| if let Remedy::Remove { managed, up } = remedy { Some((managed, *up)) } else { None })
        .collect();
    let emptied = remove_models(basis, &gone, steps);
    let up: Vec<&Managed> = gone
        .iter()
        .filter(|(managed, up)| *up && is_still_up(basis, managed.id()))
        .map(|(managed, _)| *managed)
        .collect();
    let own_models =
        |id: &ResourceId| [Some(id), None].iter().filter_map(|server| emptied.get(server)).flatten().copied().collect();
    let stopped = ends.stop(&up, own_models, steps);
    let aside = basis.replacements.values().filter_map(|replacement| replacement.after.clone());
    let aside = aside.map(|action| steps.add(Phase::Prune, action, Vec::new())).collect();
    // An image can go when nothing is made of it any more.
    gone.sort_by_key(|(managed, _)| managed.id().kind == Kind::Image);
    Removal { ends, stopped, servers: aside, unloaded: BTreeMap::new() }.remove(&gone, steps);
    remove_networks(basis, steps);
}

/// Returns whether a server that is no longer declared has not stopped before: one that sleeps is up.
fn is_still_up(basis: &Basis<'_>, id: &ResourceId) -> bool {
    !basis.stop_order.stop.contains(id) || basis.stop_order.sleep.contains(id)
}

/// Adds the removal of models, and returns its steps by server, where that is known. A server must be asked for it while
/// it is up, and for one after another: while it removes unused layers, it does not know the layers that other models
/// share.
fn remove_models<'a>(
    basis: &'a Basis<'a>,
    gone: &[(&Managed, bool)],
    steps: &mut Steps<'_>,
) -> BTreeMap<Option<&'a ResourceId>, Vec<StepId>> {
    let mut emptied: BTreeMap<Option<&ResourceId>, Vec<StepId>> = BTreeMap::new();
    for (managed, _) in gone.iter().filter(|(managed, _)| managed.id().kind == Kind::Model) {
        let needs = basis.past.needs.get(managed.id());
        let server = needs.and_then(|needs| needs.iter().find(|id| id.kind.runs()));
        let before = emptied.entry(server).or_default();
        let after = before.last().copied().into_iter().collect();
        before.push(steps.add(Phase::Prune, Action::RemoveModel((*managed).clone()), after));
    }
    emptied
}

/// The removal of all but models.
struct Removal<'a> {
    ends: Ends<'a>,
    /// The steps that stop servers.
    stopped: BTreeMap<ResourceId, StepId>,
    /// The steps that remove servers.
    servers: Vec<StepId>,
    /// Those of them that remove a definition which a manager has loaded.
    unloaded: BTreeMap<Kind, Vec<StepId>>,
}

impl Removal<'_> {
    fn remove(mut self, gone: &[(&Managed, bool)], steps: &mut Steps<'_>) {
        for (managed, up) in gone {
            let id = managed.id();
            if let Some(live) = self.ends.basis.parts_of(id) {
                let own: Vec<StepId> = self.stopped.get(id).copied().into_iter().collect();
                let removed = steps.chain(Phase::Prune, self.ends.removal(managed, live, *up), &own);
                self.unloaded.entry(id.kind).or_default().extend(removed);
                self.servers.extend(removed);
            } else if let Some((action, after)) = self.call(managed) {
                let step = steps.add(Phase::Prune, action, after);
                if loads_definitions(id) {
                    self.unloaded.entry(id.kind).or_default().push(step);
                }
                self.servers.extend(id.kind.runs().then_some(step));
            }
        }
        for (kind, unloaded) in self.unloaded {
            steps.add(Phase::Prune, Action::ReloadManager(kind), unloaded);
        }
    }

    /// Returns the call that removes a resource, and the steps before it.
    fn call(&self, managed: &Managed) -> Option<(Action, Vec<StepId>)> {
        let own = || self.stopped.get(managed.id()).copied().into_iter().collect();
        // A file, an environment or a model may be in use by any of the servers that stop.
        let quiet = || self.stopped.values().copied().collect();
        let managed = managed.clone();
        Some(match managed.id().kind {
            kind if kind.runs() => (Action::RemoveServer(managed), own()),
            Kind::Image => (Action::RemoveImage(managed), self.servers.clone()),
            Kind::File => (Action::RemoveFile(managed), quiet()),
            Kind::Environment => (Action::RemoveEnvironment(managed), quiet()),
            Kind::Artifact => (Action::RemoveArtifact(managed), quiet()),
            _ => return None,
        })
    }
}

/// Adds the removal of networks that no declared server is in, to a plan that does something else too.
fn remove_networks(basis: &Basis<'_>, steps: &mut Steps<'_>) {
    if !basis.desired.policy.prune || steps.list().is_empty() {
        return;
    }
    let is_left = |step: &&Step| step.phase == Phase::Prune;
    let after: Vec<StepId> = steps.list().iter().filter(is_left).map(|step| step.id).collect();
    for (kind, name) in unused_networks(basis.desired, basis.observed) {
        steps.add(Phase::Prune, Action::RemoveNetwork { kind, name: name.clone() }, after.clone());
    }
}
