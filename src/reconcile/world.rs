//! One stack, and the world around it: the machine, the records, and what outlives this process.
//!
//! Everything that a transaction touches or waits for is behind [`World`], so it runs on the real machine and in a
//! simulated one alike.

use crate::apply::Machine;
use crate::history::{Carrier, DeadMan, History};
use crate::resolve::Directories;
use crate::resource::{Kind, Resource, ResourceId};
use crate::systems::proc::Identity;
use crate::systems::store::{Disk, Store};
use crate::systems::systemd::{Later, Systemd};
use crate::systems::{RecordFolders, Systems, detached, files, http, process};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinSet;

/// A machine with its records and its dead-man's switches.
#[expect(async_fn_in_trait, reason = "every user is generic over it, and nothing that holds one is spawned")]
pub trait World: Machine {
    /// The store of the records.
    type Store: Store;

    /// Postpones a dead-man's switch until it is dropped.
    type Heartbeat;

    /// Arms a switch that fires outside this process and its session, with the secret part of its environment;
    /// returns whether the machine supports that.
    async fn arm_timer(&self, switch: &Switch, secrets: &str) -> bool;

    /// Arms a switch that is a process of llamero itself.
    async fn arm_process(&self, switch: &Switch) -> Result<(), detached::Error>;

    /// Begins to postpone a switch, several times within its deadline.
    async fn heartbeat(&self, switch: &Switch, timer: bool) -> Self::Heartbeat;

    /// Ends a switch. One that cannot be ended finds nothing to do.
    async fn disarm(&self, carrier: &Carrier);
}

/// A dead-man's switch, as it is to be armed.
#[derive(Debug, Clone)]
pub struct Switch {
    /// The name of its timer.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The generation that it rolls back.
    pub generation: u64,
    /// The program that it runs.
    pub program: PathBuf,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The file with the secret part of the program's environment; it may be missing.
    pub environment_file: PathBuf,
    /// The file that a heartbeat touches.
    pub file: PathBuf,
    /// The log of a switch that is a process.
    pub log: PathBuf,
    /// The time after the last heartbeat at which it fires.
    pub after: Duration,
}

/// The number of heartbeats within the deadline.
const HEARTBEATS: u32 = 3;

impl World for Systems {
    type Store = Disk;
    type Heartbeat = JoinSet<()>;

    async fn arm_timer(&self, switch: &Switch, secrets: &str) -> bool {
        let Ok(systemd) = self.systemd().await else { return false };
        let written = || files::write(&switch.environment_file, secrets.as_bytes(), files::PRIVATE);
        if !secrets.is_empty() && written().is_err() {
            return false;
        }
        let (Some(program), Some(environment_file)) = (switch.program.to_str(), switch.environment_file.to_str())
        else {
            return false;
        };
        let mut argv = vec![program.to_owned()];
        argv.extend(switch.arguments.iter().cloned());
        let later = Later {
            description: switch.description.clone(),
            name: switch.name.clone(),
            argv,
            environment: detached::environment(),
            environment_file: environment_file.to_owned(),
            after: switch.after,
        };
        systemd.run_later(&later).await.is_ok()
    }

    async fn arm_process(&self, switch: &Switch) -> Result<(), detached::Error> {
        let mut arguments = switch.arguments.clone();
        arguments.extend(["--after".to_owned(), format!("{}ms", switch.after.as_millis())]);
        detached::start(&switch.program, &arguments, &switch.log).await.map(drop)
    }

    async fn heartbeat(&self, switch: &Switch, timer: bool) -> JoinSet<()> {
        let systemd = if timer { self.systemd().await.ok() } else { None };
        let mut heartbeat = JoinSet::new();
        heartbeat.spawn(beat(systemd, switch.clone()));
        heartbeat
    }

    async fn disarm(&self, carrier: &Carrier) {
        match carrier {
            Carrier::Timer(name) => {
                if let Ok(systemd) = self.systemd().await {
                    let _ = systemd.call_off(name, true).await;
                }
            }
            Carrier::Process(process) => {
                detached::end(*process).await;
            }
        }
    }
}

/// Postpones a switch repeatedly. A lost heartbeat does no harm while the stack lock is held.
async fn beat(timer: Option<Systemd>, switch: Switch) {
    loop {
        tokio::time::sleep(switch.after / HEARTBEATS).await;
        match &timer {
            Some(systemd) => drop(systemd.put_off(&switch.name).await),
            None => drop(files::touch(&switch.file)),
        }
    }
}

/// One stack on one machine: its records, and the world around it.
#[derive(Debug)]
pub struct Stack<W: World = Systems> {
    /// Its name.
    pub name: String,
    /// Its records.
    pub history: History<W::Store>,
    /// The world around it.
    pub systems: W,
    /// llamero itself, as a dead-man's switch runs it.
    pub program: PathBuf,
}

impl Stack {
    /// Opens a stack; `program` is llamero itself, which supervises the processes. Nothing is touched yet.
    pub fn open(name: &str, directories: &Directories, program: PathBuf) -> Result<Self, http::Error> {
        let records = directories.records(name);
        let processes = process::Processes::new(records.join("processes"), program.clone());
        let folders = RecordFolders {
            artifacts: directories.known_artifacts(),
            models: records.join("models"),
            images: records.join("images"),
        };
        let systems = Systems::new(http::Client::new()?, processes, directories.units(), folders);
        Ok(Self { name: name.to_owned(), history: History::new(records), systems, program })
    }

    /// Puts this process on record as the dead-man's switch of a generation.
    pub fn enlist_deadman(&self, number: u64) -> Result<(), crate::history::Error> {
        let armed = self.history.watch(number)?.ok_or(crate::history::Error::NoGeneration(number))?;
        let carrier = Identity::of(std::process::id()).map(Carrier::Process);
        self.history.set_deadman(number, &DeadMan { carrier, ..armed })
    }
}

impl<W: World> Stack<W> {
    /// Returns the environments and model files that other stacks of this user need. Where the records of one cannot be
    /// read, everything may be needed.
    pub(super) fn needed_by_others(&self, inventory: &[Resource]) -> BTreeSet<ResourceId> {
        let shared = |id: &ResourceId| matches!(id.kind, Kind::Artifact | Kind::Environment | Kind::Image);
        let mut needed = BTreeSet::new();
        let (Some(all), store) = (self.history.folder().parent(), self.history.store()) else { return needed };
        for name in store.names(all).unwrap_or_default() {
            let generations = store.names(&all.join(&name).join("generations"));
            if name == self.name || generations.is_ok_and(|generations| generations.is_empty()) {
                continue;
            }
            match History::within(store, all.join(&name)).memory() {
                Ok(memory) => needed.extend(memory.past.keep),
                Err(_) => needed.extend(inventory.iter().map(|resource| resource.id.clone()).filter(|id| shared(id))),
            }
        }
        needed
    }
}
