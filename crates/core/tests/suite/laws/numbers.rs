//! Stacks in a handful of numbers, which shrink well: servers of three runtimes that trade ports and memory, with files,
//! environments and model files of no particular engine.

use super::generate::{GIB, STACK};
use crate::sample;
use llamero_core::resolve::{Desired, Policy};
use llamero_core::resource::{
    Artifact, ArtifactSource, Bytes, Command, Container, Content, Digest, Environment, FileSpec, GeneratedSecret,
    Input, Kind, Limits, Mount, MountSource, Piece, Resource, ResourceId, Run, Runtime, SecretReference, Spec,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const SERVERS: usize = 4;
/// A secret, an environment, three artifacts, two files; then the servers.
const OTHERS: usize = 7;
pub(super) const SLOTS: usize = OTHERS + SERVERS;
const MOST: usize = 8;

/// A stack in numbers.
#[derive(Debug, Clone)]
pub(super) struct Declaration {
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
pub(super) enum Edit {
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

pub(super) fn declaration() -> impl Strategy<Value = Declaration> {
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

pub(super) fn edit() -> impl Strategy<Value = Edit> {
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
    pub(super) fn edited(mut self, edits: &[Edit]) -> Self {
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

    pub(super) fn desired(&self, policy: &Policy) -> Desired {
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
