//! Stacks, machines and pasts that the laws are tried on.
//!
//! A [`Declaration`] is a handful of numbers that shrink well; a `Desired` is built from it. The machine is built from
//! two declarations, the previous and the current one, so that a plan could have created everything on it, and from a
//! [`Condition`] for each resource, which is the event since.

use crate::sample;
use llamero_core::live::{
    InstanceState, Instances, Live, LiveFile, LiveRun, Observation, Ownership, PortHolder, Presence, RunState, Unseen,
};
use llamero_core::plan::Past;
use llamero_core::resolve::{Desired, Drift, Policy};
use llamero_core::resource::{
    Artifact, ArtifactSource, Bytes, Command, Container, Content, Digest, Environment, Fields, FileSpec, Fingerprint,
    GeneratedSecret, Input, Kind, Limits, Mount, MountSource, Piece, Resource, ResourceId, Run, Runtime,
    SecretReference, Spec,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const STACK: &str = "home";
const GIB: u64 = 1 << 30;
const SERVERS: usize = 4;
/// A secret, an environment, three artifacts, two files; then the servers.
const OTHERS: usize = 7;
const SLOTS: usize = OTHERS + SERVERS;
const MOST: usize = 8;

/// A stack in numbers.
#[derive(Debug, Clone)]
struct Declaration {
    present: Vec<bool>,
    versions: Vec<u8>,
    servers: Vec<Server>,
    /// Each server listens on the port of its own index, and perhaps on one more.
    ports: Vec<u16>,
    /// Whether servers need those after them in place of those before them.
    reversed: bool,
    /// GiB between the sum of what servers claim and the budget.
    slack: Option<u64>,
}

#[derive(Debug, Clone)]
struct Server {
    process: bool,
    two_ports: bool,
    memory: Option<u64>,
    needs: u16,
    /// Whether it hands its socket off, as a unit.
    hands_off: bool,
}

/// One change of a declaration.
#[derive(Debug, Clone)]
enum Edit {
    Toggle(usize),
    Bump(usize),
    Move(usize),
    HandOff(usize),
    SwapPorts(usize, usize),
    TradeMemory(usize, usize),
    Reverse,
}

fn server() -> impl Strategy<Value = Server> {
    let hands_off = prop::bool::weighted(0.3);
    (any::<bool>(), prop::bool::weighted(0.2), prop::option::weighted(0.8, 1..6_u64), any::<u16>(), hands_off).prop_map(
        |(process, two_ports, memory, needs, hands_off)| Server { process, two_ports, memory, needs, hands_off },
    )
}

fn declaration() -> impl Strategy<Value = Declaration> {
    (
        prop::collection::vec(any::<bool>(), SLOTS),
        prop::collection::vec(0..3_u8, SLOTS),
        prop::collection::vec(server(), SERVERS),
        Just((9000..).take(2 * SERVERS).collect::<Vec<u16>>()).prop_shuffle(),
        any::<bool>(),
        prop::option::weighted(0.8, 0..3_u64),
    )
        .prop_map(|(present, versions, servers, ports, reversed, slack)| Declaration {
            present,
            versions,
            servers,
            ports,
            reversed,
            slack,
        })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0..SLOTS).prop_map(Edit::Toggle),
        (0..SLOTS).prop_map(Edit::Bump),
        (0..SERVERS).prop_map(Edit::Move),
        (0..SERVERS).prop_map(Edit::HandOff),
        (0..SERVERS, 0..2 * SERVERS).prop_map(|(one, other)| Edit::SwapPorts(one, other)),
        (0..SERVERS, 0..SERVERS).prop_map(|(one, other)| Edit::TradeMemory(one, other)),
        Just(Edit::Reverse),
    ]
}

impl Declaration {
    fn edited(mut self, edits: &[Edit]) -> Self {
        for edit in edits {
            match *edit {
                Edit::Toggle(slot) => self.present[slot] = !self.present[slot],
                Edit::Bump(slot) => self.versions[slot] += 1,
                Edit::Move(server) => self.servers[server].process = !self.servers[server].process,
                Edit::HandOff(server) => self.servers[server].hands_off = !self.servers[server].hands_off,
                Edit::SwapPorts(one, other) => self.ports.swap(one, other),
                Edit::TradeMemory(one, other) => {
                    let (less, more) = (self.servers[one].memory, self.servers[other].memory);
                    self.servers[one].memory = less.map(|memory| memory.div_ceil(2));
                    self.servers[other].memory = more.map(|memory| memory + less.unwrap_or(1) / 2);
                }
                Edit::Reverse => self.reversed = !self.reversed,
            }
        }
        self
    }

    fn desired(&self, policy: &Policy) -> Desired {
        let mut present = self.present.clone();
        let mut count = 0;
        for slot in &mut present {
            count += usize::from(*slot);
            *slot = *slot && count <= MOST;
        }
        let ids: Vec<ResourceId> = (0..SLOTS).map(|slot| self.id(slot)).collect();
        let mut desired = Desired { stack: STACK.to_owned(), policy: policy.clone(), ..Desired::default() };
        for slot in (0..SLOTS).filter(|slot| present[*slot]) {
            let needs = (0..SLOTS).filter(|other| present[*other] && self.needs(slot, *other));
            let needs: BTreeSet<ResourceId> = needs.map(|other| ids[other].clone()).collect();
            let spec = self.spec(slot, &needs);
            let resource = Resource { needs, ..Resource::new(ids[slot].clone(), format!("roles.{slot}"), spec) };
            desired.resources.insert(ids[slot].clone(), resource);
        }
        let claims: u64 = desired.runs().filter_map(|(_, run)| run.memory).map(|memory| memory.0).sum();
        desired.memory = self.slack.map(|slack| Bytes(claims + slack * GIB));
        desired.renew_inputs();
        desired
    }

    fn id(&self, slot: usize) -> ResourceId {
        match slot {
            0 => ResourceId::new(Kind::Secret, "key"),
            1 => ResourceId::new(Kind::Environment, format!("python-{}", self.versions[slot])),
            2..=4 => ResourceId::new(Kind::Artifact, ["own", "fetched", "made"][slot - 2]),
            5..=6 => ResourceId::new(Kind::File, ["config", "secrets"][slot - 5]),
            _ => {
                let server = slot - OTHERS;
                let kind = match self.runtime(server) {
                    Runtime::Systemd => Kind::Unit,
                    Runtime::Process => Kind::Process,
                    Runtime::Docker => Kind::Container,
                };
                ResourceId::new(kind, ["alpha", "beta", "gamma", "delta"][server])
            }
        }
    }

    fn runtime(&self, server: usize) -> Runtime {
        match (self.servers[server].process, server % 2) {
            (false, _) => Runtime::Systemd,
            (true, 0) => Runtime::Process,
            (true, _) => Runtime::Docker,
        }
    }

    fn needs(&self, slot: usize, other: usize) -> bool {
        if slot < OTHERS {
            // Only the file of secrets needs something: the secret.
            return slot == 6 && other == 0;
        }
        let earlier = other < OTHERS || if self.reversed { other > slot } else { other < slot };
        earlier && self.servers[slot - OTHERS].needs & (1 << other) != 0
    }

    fn spec(&self, slot: usize, needs: &BTreeSet<ResourceId>) -> Spec {
        let version = self.versions[slot];
        let path = format!("/home/user/{slot}").into();
        match slot {
            0 => Spec::Secret(GeneratedSecret { path }),
            1 => Spec::Environment(Environment {
                path: format!("/home/user/python-{version}").into(),
                requirements: vec![format!("litellm=={version}")],
                python: "/usr/bin/python3".into(),
            }),
            2..=4 => {
                let url = format!("https://models.example/{version}");
                let source = match slot {
                    2 => ArtifactSource::File,
                    3 => ArtifactSource::Url { url: url.clone(), token: None },
                    _ => ArtifactSource::Command { argv: vec!["/bin/make".to_owned(), "{path}".to_owned()] },
                };
                // No step can change a file of the user's own, so no declaration asks for another one.
                let sha256 = if slot == 2 { Some(Digest::of("own")) } else { (version > 0).then(|| Digest::of(url)) };
                Spec::Artifact(Artifact { path, source, sha256, keep_free: Bytes(0), origin: "models".to_owned() })
            }
            5 => Spec::File(FileSpec { path, content: Content::text(format!("version: {version}\n")) }),
            6 => {
                let reference = SecretReference::File("/home/user/0".into());
                let secret = Piece::Secret { reference, digest: Digest::of([version]) };
                Spec::File(FileSpec { path, content: Content(vec![Piece::Text("KEY=".to_owned()), secret]) })
            }
            _ => Spec::Run(Box::new(self.run(slot, needs))),
        }
    }

    fn run(&self, slot: usize, needs: &BTreeSet<ResourceId>) -> Run {
        let index = slot - OTHERS;
        let server = &self.servers[index];
        let mut ports = vec![self.ports[index]];
        ports.extend(server.two_ports.then_some(self.ports[SERVERS + index]));
        let context = format!("{}", 1024 * u32::from(self.versions[slot]));
        let mut argv = vec!["/bin/serve".to_owned(), "--ctx-size".to_owned(), context];
        argv.extend(ports.iter().map(|port| format!("--port={port}")));
        // Two instances are up at once while one hands off to the other: such a server claims nothing here.
        let memory = server.memory.filter(|_| !server.hands_off).map(|memory| Bytes(memory * GIB));
        let files = needs.iter().filter(|id| id.kind == Kind::File);
        Run {
            description: format!("server {index}"),
            command: Command::words(argv),
            inputs: files.map(|id| Input { resource: id.clone(), digest: Digest::of("") }).collect(),
            limits: Limits { memory, cpu_percent: None },
            ports,
            memory,
            socket_handoff: server.hands_off && self.runtime(index) == Runtime::Systemd,
            container: (self.runtime(index) == Runtime::Docker).then(|| Box::new(container(index))),
            ..sample::run(self.runtime(index), &[])
        }
    }
}

/// Returns a container with a volume of its own, in the network of the stack.
fn container(server: usize) -> Container {
    let source = MountSource::Volume(format!("data-{server}"));
    let mounts = vec![Mount { source, target: "/data".into(), read_only: false }];
    let network = Some("llamero-home".to_owned());
    Container { image: "image:1".to_owned(), network, mounts, ..Container::default() }
}

/// What happened to a thing since it was as the declaration before wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    AsBefore,
    AsNow,
    Absent,
    Edited,
    Stopped,
    Failed,
    Starting,
    /// An interrupted hand-off left instances beside the current one.
    Orphaned,
    /// Its socket does not listen.
    Silent,
    BackingOff,
    RunsOlder,
    EditedRunsOlder,
    NotLoaded,
    NotEnabled,
    Unmanaged,
    OtherStacks,
    Unknown,
}

fn calm() -> impl Strategy<Value = Condition> {
    prop_oneof![
        4 => Just(Condition::AsBefore),
        2 => Just(Condition::AsNow),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Edited),
        1 => Just(Condition::Stopped),
        1 => Just(Condition::Failed),
        1 => Just(Condition::Starting),
        1 => Just(Condition::Orphaned),
        1 => Just(Condition::Silent),
        1 => Just(Condition::BackingOff),
        2 => Just(Condition::RunsOlder),
        1 => Just(Condition::EditedRunsOlder),
        1 => Just(Condition::NotLoaded),
        1 => Just(Condition::NotEnabled),
    ]
}

fn wild() -> impl Strategy<Value = Condition> {
    prop_oneof![
        12 => calm(),
        1 => Just(Condition::Unmanaged),
        1 => Just(Condition::OtherStacks),
        1 => Just(Condition::Unknown),
    ]
}

/// Something that carries a mark and that neither declaration knows.
#[derive(Debug, Clone)]
struct Debris {
    kind: Kind,
    condition: Condition,
    port: u16,
    memory: u64,
}

fn debris(condition: impl Strategy<Value = Condition>) -> impl Strategy<Value = Debris> {
    let kinds = [Kind::Environment, Kind::Artifact, Kind::File, Kind::Unit, Kind::Process];
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
        policy,
        declaration(),
        prop::collection::vec(edit(), 0..5),
        prop::collection::vec(condition.clone(), 2 * SLOTS),
        prop::collection::vec(debris(condition), 0..3),
        prop::collection::vec(any::<bool>(), 2 * SLOTS),
        prop::collection::vec(any::<u8>(), 32),
        prop::collection::vec(0..24_usize, 0..3),
    )
        .prop_map(|(policy, declaration, edits, conditions, debris, kept, options, cuts)| {
            let before = declaration.desired(&policy);
            let now = declaration.edited(&edits).desired(&policy);
            let mut past = Past { committed: committed(&before), ..Past::default() };
            past.learn(before.resources.values());
            let permanent = before.resources.keys().filter(|id| matches!(id.kind, Kind::Environment | Kind::Artifact));
            past.keep = permanent.zip(&kept).filter(|(_, kept)| **kept).map(|(id, _)| id.clone()).collect();
            let observed = Observation::default();
            let mut scenario = Scenario { before, now, observed, past, debris: BTreeMap::new(), options, cuts };
            scenario.populate(&conditions);
            scenario.litter(&debris);
            scenario.sync();
            scenario
        })
}

/// Returns what a generation keeps of the fields of `desired`.
pub(crate) fn committed(desired: &Desired) -> BTreeMap<ResourceId, Fields> {
    desired.resources.iter().map(|(id, resource)| (id.clone(), resource.fields())).collect()
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
        let mut past = Past { committed: committed(&self.now), ..self.past.clone() };
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
            let presence = presence(self.before.resources.get(&id), self.now.resources.get(&id), *condition);
            if let Some(instances) = self.instances(&id, &presence, *condition) {
                self.observed.instances.insert(id.clone(), instances);
            }
            self.observed.resources.insert(id, presence);
        }
        // What hands its socket off is known by the name that leads to an instance.
        for id in self.observed.instances.keys() {
            if let Some(Presence::Present(Live::Run(run))) = self.observed.resources.get_mut(id) {
                run.socket_handoff = true;
                let listens = self.observed.instances[id].listens;
                run.socket_down = (!listens).then(|| "it failed (resources)".to_owned());
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
                Kind::Unit | Kind::Process => {
                    self.debris.insert(id.clone(), Taken { memory: *memory, ports: vec![*port] });
                    let mut run = live_run(claim(&asked, *condition), &asked, *condition);
                    run.memory_limit = Some(Bytes(*memory));
                    Live::Run(Box::new(run))
                }
                Kind::Environment => Live::Environment { complete: *condition != Condition::Edited },
                Kind::Artifact => Live::Artifact { size: 0, sha256: None, managed },
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

fn claim(asked: &Fingerprint, condition: Condition) -> Option<Ownership> {
    let stack = if condition == Condition::OtherStacks { "another" } else { STACK };
    let intact = !matches!(condition, Condition::Edited | Condition::EditedRunsOlder);
    let claim = Ownership { stack: stack.to_owned(), fingerprint: asked.clone(), intact };
    (condition != Condition::Unmanaged).then_some(claim)
}

fn presence(before: Option<&Resource>, now: Option<&Resource>, condition: Condition) -> Presence {
    let newer = matches!(condition, Condition::AsNow | Condition::RunsOlder | Condition::EditedRunsOlder);
    let asked = if newer { now.or(before) } else { before };
    // A file of the user's own is as it is wanted, unless it is the point that it cannot be.
    let own = |resource: &&Resource| matches!(&resource.spec, Spec::Artifact(artifact) if artifact.source == ArtifactSource::File);
    let foreign = matches!(condition, Condition::Unmanaged | Condition::OtherStacks);
    let (asked, condition) = match now.or(before).filter(own) {
        Some(own) if condition != Condition::Unknown && !foreign => (Some(own), Condition::AsNow),
        _ => (asked, condition),
    };
    match condition {
        Condition::Unknown => return Presence::Unknown(Unseen::new("no access")),
        Condition::Absent => return Presence::Absent,
        _ => {}
    }
    let Some(resource) = asked.or(now.filter(|_| foreign)) else { return Presence::Absent };
    let fingerprint = resource.fingerprint();
    Presence::Present(match &resource.spec {
        Spec::Secret(_) => Live::Secret,
        Spec::Environment(_) => Live::Environment { complete: condition != Condition::Edited },
        Spec::Artifact(artifact) => Live::Artifact {
            size: 0,
            sha256: match condition {
                Condition::Edited | Condition::Unmanaged => Some(Digest::of("other")),
                Condition::NotLoaded | Condition::OtherStacks => None,
                _ => artifact.sha256.clone(),
            },
            managed: artifact.source != ArtifactSource::File && !foreign,
        },
        Spec::Image(_) => Live::Image { managed: !foreign },
        Spec::Model(_) => Live::Model {
            recorded: Some(fingerprint),
            loaded: true,
            sha256: None,
            managed: true,
            kept: false,
            unserved: false,
            edited: false,
            effective: BTreeMap::new(),
        },
        Spec::File(_) => Live::File(LiveFile { marker: claim(&fingerprint, condition), text: None }),
        Spec::Run(_) => {
            let older = matches!(condition, Condition::RunsOlder | Condition::EditedRunsOlder);
            let running = before.filter(|_| older).unwrap_or(resource);
            let definition = claim(&fingerprint, condition);
            let mut run = live_run(definition, &running.fingerprint(), condition);
            run.memory_limit = running.run().and_then(|run| run.limits.memory);
            let unit = resource.id.kind == Kind::Unit;
            run.loaded = !unit || condition != Condition::NotLoaded;
            run.enabled = !unit || condition != Condition::NotEnabled;
            Live::Run(Box::new(run))
        }
    })
}

fn live_run(definition: Option<Ownership>, running: &Fingerprint, condition: Condition) -> LiveRun {
    let phase = match condition {
        Condition::Stopped => RunState::Stopped,
        Condition::Failed => RunState::Failed,
        Condition::Starting => RunState::Starting,
        Condition::BackingOff => RunState::BackingOff,
        _ => RunState::Running,
    };
    let mut run = LiveRun { definition, phase, ..LiveRun::stopped() };
    run.running = run.is_up().then(|| running.clone());
    run.why = matches!(phase, RunState::Failed | RunState::BackingOff).then(|| "exit status 1".to_owned());
    run
}
