//! Stacks, machines and pasts that the laws are tried on.
//!
//! Two declarations, the previous and the current one, come from numbers or from manifests. The machine is built from both,
//! so that a plan could have created everything on it, and from a [`Condition`] for each resource, which is the event
//! since.

use super::condition::{Condition, calm, claim, live_model, live_run, presence, wild};
use super::manifests;
use super::numbers;
use crate::given;
use llamero_core::live::{
    InstanceState, Instances, Live, LiveFile, Observation, PortHolder, Presence, RunState, Unseen,
};
use llamero_core::plan::{Action, Past, plan};
use llamero_core::resolve::{Desired, Drift, Policy};
use llamero_core::resource::{Bytes, Fields, Fingerprint, Kind, Prerequisite, Resource, ResourceId};
use llamero_core::targets;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const STACK: &str = "home";
pub(super) const GIB: u64 = 1 << 30;

/// More conditions than a scenario has resources.
const CONDITIONS: usize = 40;

/// Something that carries a mark and that neither declaration knows.
#[derive(Debug, Clone)]
struct Debris {
    kind: Kind,
    condition: Condition,
    port: u16,
    memory: u64,
}

fn debris(condition: impl Strategy<Value = Condition>) -> impl Strategy<Value = Debris> {
    let kinds = [
        Kind::Environment,
        Kind::Artifact,
        Kind::Image,
        Kind::File,
        Kind::Model,
        Kind::Unit,
        Kind::Process,
        Kind::Container,
    ];
    (prop::sample::select(kinds.to_vec()), condition, 9000..9010_u16, 1..4_u64)
        .prop_map(|(kind, condition, port, memory)| Debris { kind, condition, port, memory: memory * GIB })
}

/// What a server takes while it is up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) memory: u64,
    pub(crate) ports: Vec<u16>,
}

/// Everything that a law is tried on.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) before: Desired,
    pub(crate) now: Desired,
    pub(crate) observed: Observation,
    pub(crate) past: Past,
    /// What servers that no declaration knows take.
    debris: BTreeMap<ResourceId, Taken>,
    /// Chooses among the steps that may come next.
    pub(crate) options: Vec<u8>,
    /// After how many steps the walk is cut, again and again.
    pub(crate) cuts: Vec<usize>,
}

/// Returns machines on which nothing stands in the way, with the policy that puts everything right.
pub(crate) fn undisturbed() -> impl Strategy<Value = Scenario> {
    scenario(Just(Policy::default()), calm().boxed())
}

/// Returns machines on which nothing stands in the way, with `policy`.
pub(crate) fn undisturbed_under(policy: Policy) -> impl Strategy<Value = Scenario> {
    scenario(Just(policy), calm().boxed())
}

/// Returns machines with unmanaged and unknown resources, under any policy.
pub(crate) fn any_machine() -> impl Strategy<Value = Scenario> {
    scenario(policy(), wild().boxed())
}

/// Returns machines on which nothing stands in the way, under any policy.
pub(crate) fn any_policy() -> impl Strategy<Value = Scenario> {
    scenario(policy(), calm().boxed())
}

fn policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>()).prop_map(|(warn, prune)| Policy {
        drift: if warn { Drift::Warn } else { Drift::Correct },
        prune,
        rollback: true,
    })
}

fn scenario(
    policy: impl Strategy<Value = Policy>,
    condition: BoxedStrategy<Condition>,
) -> impl Strategy<Value = Scenario> {
    (
        policy.prop_flat_map(declared),
        prop::collection::vec(condition.clone(), CONDITIONS),
        prop::collection::vec(debris(condition), 0..3),
        prop::collection::vec(any::<bool>(), CONDITIONS),
        prop::collection::vec(any::<u8>(), 32),
        prop::collection::vec(0..24_usize, 0..3),
    )
        .prop_map(|((before, now), conditions, debris, kept, options, cuts)| {
            let mut past = given::past(&before);
            let kept = kept.into_iter().chain(std::iter::repeat(false));
            past.keep = permanent(&before).into_iter().zip(kept).filter_map(|(id, kept)| kept.then_some(id)).collect();
            let observed = Observation::default();
            let mut scenario = Scenario { before, now, observed, past, debris: BTreeMap::new(), options, cuts };
            scenario.populate(&conditions);
            scenario.litter(&debris);
            scenario.sync();
            scenario
        })
}

/// Returns the previous and the current desired state: of numbers, or of manifests.
fn declared(policy: Policy) -> impl Strategy<Value = (Desired, Desired)> {
    let correct = policy.clone();
    let numbers = (numbers::declaration(), prop::collection::vec(numbers::edit(), 0..5))
        .prop_map(move |(before, edits)| (before.desired(&policy), before.edited(&edits).desired(&policy)));
    let manifests = (manifests::stack(), prop::collection::vec(manifests::edit(), 0..5))
        .prop_map(move |(before, edits)| (before.desired(&correct), before.edited(&edits).desired(&correct)));
    prop_oneof![numbers, manifests]
}

/// Returns what a rollback to `desired` may need, and that may be retained for it.
fn permanent(desired: &Desired) -> Vec<ResourceId> {
    let permanent = |id: &&ResourceId| matches!(id.kind, Kind::Environment | Kind::Artifact | Kind::Image);
    let contents = desired.resources.values().filter_map(Resource::model);
    let kept = contents.filter_map(|model| Some(model.kept(STACK, model.sha256.as_ref()?).0));
    desired.resources.keys().filter(permanent).cloned().chain(kept).collect()
}

/// Returns what is seen when everything that `desired` declares is looked for.
pub(crate) fn inspect(desired: &Desired, mut observed: Observation) -> Observation {
    for id in desired.resources.keys() {
        observed.resources.entry(id.clone()).or_insert(Presence::Absent);
    }
    observed
}

impl Scenario {
    /// Returns the past once `now` is the good generation.
    pub(crate) fn committed_past(&self) -> Past {
        let Past { committed, contents, previous, .. } = given::past(&self.now);
        let mut past = Past { committed, contents, previous, ..self.past.clone() };
        past.learn(self.now.resources.values());
        past
    }

    /// Returns what every server of this stack that is up in `observed` takes.
    pub(crate) fn taken<'a>(&'a self, observed: &'a Observation) -> impl Iterator<Item = (&'a ResourceId, Taken)> {
        observed.resources.keys().filter_map(|id| {
            let run = observed.run(id)?;
            let managed = run.definition.as_ref().is_some_and(|claim| claim.stack == STACK);
            let taken = || self.debris.get(id).cloned().unwrap_or_default();
            (managed && run.is_up()).then(|| (id, self.asked(id, run.running.as_ref()).unwrap_or_else(taken)))
        })
    }

    fn asked(&self, id: &ResourceId, running: Option<&Fingerprint>) -> Option<Taken> {
        let asked = [&self.now, &self.before].into_iter().filter_map(|desired| desired.resources.get(id));
        let run = asked.filter(|resource| Some(&resource.fingerprint()) == running).find_map(Resource::run)?;
        Some(Taken { memory: run.memory.map_or(0, |memory| memory.0), ports: run.ports.clone() })
    }

    fn populate(&mut self, conditions: &[Condition]) {
        let ids: BTreeSet<ResourceId> =
            self.before.resources.keys().chain(self.now.resources.keys()).cloned().collect();
        for (id, condition) in ids.into_iter().zip(conditions) {
            let (before, now) = (self.before.resources.get(&id), self.now.resources.get(&id));
            let beside = beside(&mut self.observed, before, now, *condition);
            let presence = beside.unwrap_or_else(|| presence(before, now, *condition));
            if let Some(instances) = self.instances(&id, &presence, *condition) {
                self.observed.instances.insert(id.clone(), instances);
            }
            self.observed.resources.insert(id, presence);
        }
        self.prepare();
        // What hands its socket off is known by the name that leads to an instance.
        for id in self.observed.instances.keys() {
            if let Some(Presence::Present(Live::Run(run))) = self.observed.resources.get_mut(id) {
                run.socket_handoff = true;
                let listens = self.observed.instances[id].listens;
                run.socket_down = (!listens).then(|| "it failed (resources)".to_owned());
            }
        }
    }

    /// Makes what containers need on their host, as an apply did before it created the first.
    fn prepare(&mut self) {
        let is_there = |id: &ResourceId| matches!(self.observed.resources.get(id), Some(Presence::Present(_)));
        if !self.observed.resources.keys().any(|id| id.kind == Kind::Container && is_there(id)) {
            return;
        }
        let bare = given::bare(self.before.resources.values());
        for step in plan(&self.before, &bare, &Past::default()).steps {
            if let Action::Prepare { kind, what } = step.action {
                if let Prerequisite::Network(name) = &what {
                    self.observed.networks.insert(name.clone(), kind);
                }
                self.observed.prerequisites.insert(what);
            }
        }
    }

    /// Returns the instances of what stands there, where it hands its socket off.
    fn instances(&self, id: &ResourceId, presence: &Presence, condition: Condition) -> Option<Instances> {
        let Presence::Present(Live::Run(live)) = presence else { return None };
        let claim = live.definition.as_ref().filter(|claim| claim.stack == STACK)?;
        let asked = [&self.now, &self.before].into_iter().filter_map(|desired| desired.resources.get(id));
        let run = asked.filter(|resource| resource.fingerprint() == claim.fingerprint).find_map(Resource::run)?;
        let orphans = [(2, InstanceState::Defined), (3, InstanceState::Started), (4, InstanceState::Serving)];
        let others = orphans.into_iter().filter(|_| condition == Condition::Orphaned).collect();
        let listens = condition != Condition::Silent;
        run.socket_handoff.then_some(Instances { current: Some(1), others, next: 5, listens })
    }

    fn litter(&mut self, debris: &[Debris]) {
        for (index, Debris { kind, condition, port, memory }) in debris.iter().enumerate() {
            // No record has the port of one that is not up yet, so it must be live and listening.
            let silent = matches!(condition, Condition::BackingOff | Condition::Starting);
            let condition = if silent { &Condition::AsBefore } else { condition };
            let id = ResourceId::new(*kind, format!("debris-{index}"));
            let asked = Fingerprint::of(&Fields::from([("debris".to_owned(), index.to_string().into())]));
            let managed = !matches!(condition, Condition::Unmanaged | Condition::OtherStacks);
            let live = match kind {
                Kind::Unit | Kind::Process | Kind::Container => {
                    self.debris.insert(id.clone(), Taken { memory: *memory, ports: vec![*port] });
                    let mut run = live_run(claim(&asked, *condition), &asked, *condition);
                    run.memory_limit = Some(Bytes(*memory));
                    Live::Run(Box::new(run))
                }
                Kind::Environment => Live::Environment { complete: *condition != Condition::Edited },
                Kind::Artifact => Live::Artifact { size: 0, sha256: None, managed },
                Kind::Image => Live::Image { managed },
                Kind::Model => live_model(managed.then_some(asked), None, managed),
                _ => Live::File(LiveFile { marker: claim(&asked, *condition), text: None }),
            };
            let presence = match condition {
                Condition::Unknown => Presence::Unknown(Unseen::new("no access")),
                _ => Presence::Present(live),
            };
            self.observed.resources.insert(id, presence);
        }
    }

    /// Stops what could not have come up beside the rest, and lists who listens where.
    fn sync(&mut self) {
        let up: Vec<(ResourceId, Taken)> = self.taken(&self.observed).map(|(id, taken)| (id.clone(), taken)).collect();
        let (mut sum, mut exclusive) = (0, BTreeSet::new());
        for (id, taken) in up {
            let over = self.now.memory.is_some_and(|budget| sum + taken.memory > budget.0);
            let Some(Presence::Present(Live::Run(run))) = self.observed.resources.get_mut(&id) else { continue };
            if over || taken.ports.iter().any(|port| exclusive.contains(port)) {
                run.phase = RunState::Stopped;
                run.running = None;
                continue;
            }
            sum += taken.memory;
            exclusive.extend(taken.ports.iter().copied());
            let listens = run.phase == RunState::Running;
            for port in taken.ports.into_iter().filter(|_| listens) {
                let holder = PortHolder { pid: Some(1), command: "serve".to_owned(), resource: Some(id.clone()) };
                self.observed.ports.insert(port, holder);
            }
        }
    }
}

/// Has a container stand aside, and returns what is in its place.
fn beside(
    observed: &mut Observation,
    before: Option<&Resource>,
    now: Option<&Resource>,
    condition: Condition,
) -> Option<Presence> {
    let (aside, current) = match condition {
        Condition::SetAside => (before?, None),
        Condition::Replaced => (before?, Some(now?)),
        Condition::Abandoned => (before?, before),
        Condition::LeftAside => (now?, Some(before?)),
        _ => return None,
    };
    let previous = targets::previous(&aside.id)?;
    observed.resources.insert(previous, presence(Some(aside), None, Condition::Stopped));
    let mut current = current.map_or(Presence::Absent, |current| presence(Some(current), None, Condition::AsBefore));
    if let (Condition::Abandoned, Presence::Present(Live::Run(run))) = (condition, &mut current) {
        let unknown = Fingerprint::of(&Fields::from([("abandoned".to_owned(), String::new().into())]));
        run.definition.iter_mut().for_each(|claim| claim.fingerprint.clone_from(&unknown));
        run.running = Some(unknown);
    }
    Some(current)
}
