//! The simulated machine itself: what really is there and what really runs. It shares no code with the planner's model.

use crate::restarts::{gives_up_after, pause};
use llamero::live::RunState;
use llamero::resource::{Digest, Fingerprint, Kind, Prerequisite, ResourceId, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a server that was started does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// After how long it answers; `None` is never.
    pub(crate) ready: Option<Duration>,
    /// Whether it is seen to get on while it is not ready.
    pub(crate) progress: bool,
    /// After how long it dies, every time or only the first.
    pub(crate) dies: Option<(Duration, bool)>,
    /// From when on it answers wrongly, and until when.
    pub(crate) unhealthy: Option<(Duration, Duration)>,
}

impl Behaviour {
    pub(crate) const HEALTHY: Self =
        Self { ready: Some(Duration::from_millis(700)), progress: false, dies: None, unhealthy: None };
}

/// What stands in a server's place: whose it is and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// `None` is another program's.
    pub(crate) stack: Option<String>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) intact: bool,
    pub(crate) run: Arc<Run>,
}

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) definition: Definition,
    pub(crate) number: u64,
    pub(crate) started: Duration,
    pub(crate) behaviour: Behaviour,
    /// Whether it sleeps.
    pub(crate) asleep: bool,
    /// Whether its port or its GPU was taken when it started: it dies at once.
    pub(crate) clashed: bool,
}

/// An instance of a server that hands its socket off.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) definition: Definition,
    pub(crate) loaded: bool,
    pub(crate) process: Option<Process>,
    pub(crate) serves: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) definition: Option<Definition>,
    /// What the manager has read; only of units.
    pub(crate) loaded: Option<Definition>,
    pub(crate) enabled: bool,
    pub(crate) process: Option<Process>,
    pub(crate) state: RunState,
    pub(crate) until: Duration,
    pub(crate) restarts: u32,
    pub(crate) why: Option<String>,
    /// The instance that is current, where it hands its socket off.
    pub(crate) current: Option<u64>,
    /// Its other instances.
    pub(crate) others: BTreeMap<u64, Instance>,
    pub(crate) listens: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            definition: None,
            loaded: None,
            enabled: false,
            process: None,
            state: RunState::Stopped,
            until: Duration::ZERO,
            restarts: 0,
            why: None,
            current: None,
            others: BTreeMap::new(),
            listens: false,
        }
    }
}

impl Server {
    pub(crate) fn is_gone(&self) -> bool {
        self.definition.is_none() && self.process.is_none() && self.loaded.is_none() && self.others.is_empty()
    }

    /// Returns when it dies or is started again by itself, if it does.
    fn changes(&self) -> Option<Duration> {
        match self.state {
            RunState::Running => {
                let process = self.process.as_ref()?;
                let dies = process.behaviour.dies.filter(|(_, always)| *always || self.restarts == 0);
                let after = if process.clashed { Duration::from_millis(50) } else { dies?.0 };
                Some(process.started + after)
            }
            RunState::BackingOff => Some(self.until),
            _ => None,
        }
    }

    pub(crate) fn is_healthy(&self, now: Duration) -> bool {
        let Some(process) = self.process.as_ref().filter(|_| self.state == RunState::Running) else { return false };
        let age = now.saturating_sub(process.started);
        let ready = process.behaviour.ready.is_some_and(|ready| age >= ready);
        let unhealthy = process.behaviour.unhealthy.is_some_and(|(from, to)| (from..to).contains(&age));
        ready && !unhealthy && !process.asleep
    }
}

/// A file with a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkedFile {
    /// Its stack and the resource that it is; `None` is another program's.
    pub(crate) owner: Option<(String, ResourceId)>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) intact: bool,
}

/// The models on servers that pull them, and what is on record of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Models {
    /// Counts the contents that the registry had.
    pub(crate) registry: u64,
    /// The content of each name of each server.
    pub(crate) tags: BTreeMap<(String, String), Digest>,
    /// The process in which each name is loaded.
    pub(crate) loaded: BTreeMap<(String, String), u64>,
    pub(crate) records: BTreeMap<ResourceId, ModelRecord>,
}

/// What is on record of one model.
#[derive(Debug, Clone)]
pub(crate) struct ModelRecord {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) endpoint: String,
    pub(crate) name: String,
    /// The name that was pulled for it.
    pub(crate) pulled: Option<String>,
    pub(crate) content: Option<Digest>,
    /// Whether the model itself was made from what was pulled.
    pub(crate) made: bool,
}

/// Everything on the machine but llamero's own records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) files: BTreeMap<PathBuf, MarkedFile>,
    pub(crate) secrets: BTreeMap<PathBuf, String>,
    /// Networks, volumes and folders that servers need.
    pub(crate) prerequisites: BTreeSet<Prerequisite>,
    /// Whether each environment is whole.
    pub(crate) environments: BTreeMap<PathBuf, bool>,
    pub(crate) artifacts: BTreeMap<PathBuf, Option<Digest>>,
    pub(crate) images: BTreeSet<ResourceId>,
    pub(crate) models: Models,
    pub(crate) servers: BTreeMap<ResourceId, Server>,
    /// What servers of a fingerprint do from now on.
    pub(crate) behaviours: BTreeMap<(ResourceId, Fingerprint), Behaviour>,
    pub(crate) starts: u64,
}

impl Truth {
    /// Starts a process for a server, in place of the one that it has.
    pub(crate) fn start(&mut self, id: &ResourceId, definition: Definition, now: Duration) {
        self.starts += 1;
        let process = self.process(id, definition, now);
        let server = self.servers.entry(id.clone()).or_default();
        (server.state, server.why, server.restarts) = (RunState::Running, None, 0);
        server.process = Some(process);
        self.advance(now);
    }

    pub(crate) fn process(&self, id: &ResourceId, definition: Definition, now: Duration) -> Process {
        let behaviour = self.behaviours.get(&(id.clone(), definition.fingerprint.clone())).cloned();
        let taken =
            self.listeners(now).iter().any(|(port, holder)| holder != id && definition.run.ports.contains(port));
        let clashed = taken || self.gpu_is_taken(id, &definition.run);
        let (number, started) = (self.starts, now);
        Process {
            definition,
            number,
            started,
            behaviour: behaviour.unwrap_or(Behaviour::HEALTHY),
            asleep: false,
            clashed,
        }
    }

    /// Returns whether another server that does not sleep has the memory of a GPU.
    fn gpu_is_taken(&self, id: &ResourceId, run: &Run) -> bool {
        let others = self.servers.iter().filter(|(other, server)| *other != id && server.state == RunState::Running);
        let mut awake = others.filter_map(|(_, server)| server.process.as_ref()).filter(|it| !it.asleep && !it.clashed);
        run.sleep.is_some() && awake.any(|other| other.definition.run.sleep.is_some())
    }

    pub(crate) fn stop(&mut self, id: &ResourceId) {
        if let Some(server) = self.servers.get_mut(id) {
            (server.process, server.state, server.why) = (None, RunState::Stopped, None);
        }
    }

    /// Returns who listens where.
    pub(crate) fn listeners(&self, _now: Duration) -> Vec<(u16, ResourceId)> {
        let up = self.servers.iter().filter(|(_, server)| server.state == RunState::Running);
        up.filter_map(|(id, server)| Some((id, server.process.as_ref().filter(|process| !process.clashed)?)))
            .flat_map(|(id, process)| process.definition.run.ports.iter().map(|port| (*port, id.clone())))
            .collect()
    }

    /// Lets everything happen that happens by itself until now.
    pub(crate) fn advance(&mut self, now: Duration) {
        let due = self.servers.iter().filter(|(_, server)| server.changes().is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.advance_one(&id, now);
        }
    }

    fn advance_one(&mut self, id: &ResourceId, now: Duration) {
        // A server that dies again and again does so until now, each time after another pause.
        loop {
            let Some(server) = self.servers.get_mut(id) else { return };
            match server.state {
                RunState::Running => {
                    let Some(dead) = server.changes().filter(|dead| *dead <= now) else { return };
                    let most = gives_up_after(id.kind);
                    server.why = Some("exit code 1".to_owned());
                    server.state = if most.is_some_and(|most| server.restarts >= most) {
                        RunState::Failed
                    } else {
                        RunState::BackingOff
                    };
                    server.until = dead + pause(server.restarts);
                    if server.state == RunState::Failed {
                        server.process = None;
                    }
                }
                RunState::BackingOff if server.until <= now => {
                    let (restarts, until) = (server.restarts + 1, server.until);
                    let definition = match id.kind {
                        Kind::Unit => server.loaded.clone().or_else(|| server.definition.clone()),
                        _ => server.process.as_ref().map(|process| process.definition.clone()),
                    };
                    let Some(definition) = definition else {
                        // Its manager has forgotten it.
                        (server.state, server.process) = (RunState::Stopped, None);
                        return;
                    };
                    server.state = RunState::Stopped;
                    self.starts += 1;
                    let process = self.process(id, definition, until);
                    let server = self.servers.get_mut(id).expect("it is there");
                    (server.state, server.restarts, server.process) = (RunState::Running, restarts, Some(process));
                    server.why = None;
                }
                _ => return,
            }
        }
    }

    /// Heals everything: from now on each server does what it should.
    pub(crate) fn heal(&mut self) {
        self.behaviours.clear();
        for server in self.servers.values_mut() {
            if let Some(process) = &mut server.process {
                process.behaviour = Behaviour::HEALTHY;
            }
        }
    }

    /// Ends everything that runs, and starts what starts with the machine.
    pub(crate) fn reboot(&mut self, now: Duration) {
        let ids: Vec<ResourceId> = self.servers.keys().cloned().collect();
        for id in &ids {
            let server = self.servers.get_mut(id).expect("it is there");
            (server.process, server.state) = (None, RunState::Stopped);
            server.listens = server.current.is_some();
            for instance in server.others.values_mut() {
                (instance.process, instance.serves, instance.loaded) = (None, false, true);
            }
            server.loaded = server.definition.clone().filter(|_| id.kind == Kind::Unit);
        }
        for id in ids {
            let server = &self.servers[&id];
            if let Some(definition) = server.loaded.clone().filter(|_| server.enabled) {
                self.start(&id, definition, now);
            }
        }
        self.servers.retain(|_, server| !server.is_gone());
    }
}
