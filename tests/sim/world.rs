//! The world as one simulated process sees it: the clock, the machine, the records and the dead-man's switches.

use crate::disk::{Disk, Files};
use crate::executor::{Pid, Timers};
use crate::machine;
use crate::models;
use crate::schedule::{Blow, Episode, Fault};
use crate::stacks::{self, Declaration};
use crate::truth::Truth;
use llamero::apply::{Execution, Failure, Machine};
use llamero::history::Carrier;
use llamero::live::{LiveRun, Observation, Presence, Unseen};
use llamero::observe::Depth;
use llamero::plan::{Action, Step, Trial};
use llamero::reconcile::{Switch, World as Outside};
use llamero::resolve::Desired;
use llamero::resource::{Digest, Health, Kind, Resource, ResourceId, Run, SecretReference};
use llamero::systems::clock::{Clock, Moment};
use llamero::systems::listener::Foreign;
use llamero::systems::secrets::{self, Secret};
use llamero::systems::{Retry, detached, files};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a call on a system that does not answer takes.
const HANGS: Duration = Duration::from_secs(90);

/// A dead-man's switch that is armed.
#[derive(Debug, Clone)]
pub(crate) struct ArmedSwitch {
    pub(crate) generation: u64,
    pub(crate) fires: Duration,
    pub(crate) after: Duration,
    /// The process that postpones it, as long as it does.
    pub(crate) postponed_by: Option<Pid>,
}

/// Everything that there is.
#[derive(Debug, Default)]
pub(crate) struct Sim {
    pub(crate) now: Duration,
    pub(crate) boot: u32,
    pub(crate) timers: Timers,
    pub(crate) files: Files,
    pub(crate) truth: Truth,
    pub(crate) switches: BTreeMap<String, ArmedSwitch>,
    /// Switches that are processes: they begin to run when whoever armed them is polled next.
    pub(crate) detached: Vec<(u64, Duration)>,
    pub(crate) beats: BTreeMap<Pid, std::path::PathBuf>,
    pub(crate) dead: BTreeSet<Pid>,
    /// After how many ticks of which process it is killed.
    pub(crate) kill: Option<(Pid, u32)>,
    pub(crate) ticks: BTreeMap<Pid, u32>,
    /// What happens at which tick of which process.
    pub(crate) blow: Option<(Pid, u32, Blow)>,
    /// Which process can be cancelled and how, and when it was.
    pub(crate) cancel: Option<(Pid, CancellationToken)>,
    pub(crate) cancelled: Option<Duration>,
    /// When the apply that is to be cancelled ended, or began to roll back.
    pub(crate) answered: Option<Duration>,
    /// Applies that come, each once a process has ended.
    pub(crate) arrivals: Vec<(Pid, Declaration)>,
    /// Processes that are stopped, and until when.
    pub(crate) stopped: BTreeMap<Pid, Duration>,
    /// Whether models were removed by hand.
    pub(crate) models_removed: bool,
    /// The actions that were planned or carried out.
    pub(crate) actions: BTreeSet<String>,
    /// Switches that have fired and are at work, or wait for the lock.
    pub(crate) firing: BTreeSet<Pid>,
    /// When the episode began.
    pub(crate) begun: Duration,
    pub(crate) episode: Episode,
    pub(crate) performed: u32,
    /// The actions that go on failing.
    pub(crate) broken: BTreeSet<String>,
    pub(crate) full: Option<(u32, u32, bool)>,
    /// What happened, where it is to be read.
    pub(crate) trace: Option<Vec<String>>,
    /// What was found to be wrong while it happened.
    pub(crate) violations: Vec<String>,
}

impl Sim {
    pub(crate) fn note(&mut self, pid: Pid, text: fmt::Arguments<'_>) {
        let now = self.now.as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>9.3} [{pid}] {text}"));
        }
    }

    /// Returns whether the step that was just begun hangs, and then whether it has its effect all the same.
    fn hangs(&self) -> Option<bool> {
        self.episode.hung.filter(|(step, _)| *step == self.performed).map(|(_, effect)| effect)
    }

    /// Notes that an action occurs.
    pub(crate) fn plans(&mut self, action: &Action) {
        let mut name = FirstWord::default();
        // It fails after the first word.
        let _ = write!(name, "{action:?}");
        if !self.actions.contains(&name.0) {
            self.actions.insert(name.0);
        }
    }

    /// Returns whether the servers of a kind cannot be seen now.
    fn is_blind(&self, kind: Kind) -> bool {
        self.episode.blind.is_some_and(|(blind, from, to)| {
            let since = self.now.saturating_sub(self.begun);
            blind == kind && (Duration::from_millis(from)..Duration::from_millis(to)).contains(&since)
        })
    }

    /// Cancels the apply.
    pub(crate) fn interrupt(&mut self) {
        self.cancelled = self.cancelled.or(Some(self.now));
        if let Some((_, cancel)) = &self.cancel {
            cancel.cancel();
        }
    }

    fn strike(&mut self, pid: Pid, what: &str, blow: Blow) {
        self.note(pid, format_args!("{blow:?} at `{what}`"));
        match blow {
            Blow::Cancel => self.interrupt(),
            Blow::Second(declaration) => self.arrivals.push((0, declaration)),
            Blow::Supersede(declaration) => {
                self.interrupt();
                self.arrivals.push((pid, declaration));
            }
            Blow::Suspend(seconds) => {
                self.stopped.insert(pid, self.now + Duration::from_secs(seconds));
            }
        }
    }

    pub(crate) fn violation(&mut self, text: String) {
        self.note(0, format_args!("VIOLATION {text}"));
        self.violations.push(text);
    }
}

/// Receives the first word of a text, and no more than that.
#[derive(Default)]
struct FirstWord(String);

impl fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let word = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        self.0.push_str(word);
        if word.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The world of one process.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) shared: Arc<Mutex<Sim>>,
    pub(crate) pid: Pid,
}

struct Sleep {
    world: World,
    until: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut sim = self.world.sim();
        if sim.now >= self.until {
            return Poll::Ready(());
        }
        sim.timers.wait(self.until, context.waker().clone());
        Poll::Pending
    }
}

impl World {
    pub(crate) fn sim(&self) -> MutexGuard<'_, Sim> {
        self.shared.lock().expect("nothing panics while it holds this")
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.sim().dead.contains(&self.pid)
    }

    /// Counts an instant at which this process may be killed; returns whether it is dead.
    pub(crate) fn tick(&self, what: &str) -> bool {
        let mut sim = self.sim();
        if sim.dead.contains(&self.pid) {
            return true;
        }
        let tick = sim.ticks.entry(self.pid).or_default();
        *tick += 1;
        let tick = *tick;
        if let Some((_, _, blow)) = sim.blow.take_if(|(pid, at, _)| *pid == self.pid && *at == tick) {
            sim.strike(self.pid, what, blow);
        }
        if sim.kill == Some((self.pid, tick)) {
            sim.note(self.pid, format_args!("is killed at `{what}`"));
            sim.dead.insert(self.pid);
            return true;
        }
        false
    }

    async fn pass(&self, what: &str) {
        if self.tick(what) {
            pending::<()>().await;
        }
        let stopped = self.sim().stopped.get(&self.pid).copied();
        if let Some(until) = stopped {
            Sleep { world: self.clone(), until }.await;
        }
    }

    fn register(&self, switch: &Switch) {
        let mut sim = self.sim();
        sim.note(self.pid, format_args!("arm {}", switch.name));
        let fires = sim.now + switch.after;
        let armed = ArmedSwitch { generation: switch.generation, fires, after: switch.after, postponed_by: None };
        sim.switches.insert(switch.name.clone(), armed);
    }

    pub(crate) async fn wait(&self, duration: Duration) {
        let until = self.sim().now + duration;
        Sleep { world: self.clone(), until }.await;
        if self.is_gone() {
            pending::<()>().await;
        }
    }
}

impl World {
    /// Sends requests through the gateway for a while.
    async fn try_out(&self, cancel: &CancellationToken, trial: &Trial, failed: Failure) -> Result<(), Failure> {
        let until = self.sim().now + trial.duration.duration();
        loop {
            let (now, answers) = {
                let mut sim = self.sim();
                let now = sim.now;
                sim.truth.advance(now);
                let gateway = sim.truth.servers.get(&trial.gateway);
                (now, gateway.is_some_and(|gateway| gateway.is_healthy(now)) && !sim.episode.broken_route)
            };
            if cancel.is_cancelled() {
                return Err(Failure { interrupted: true, ..failed });
            }
            if !answers {
                self.sim().note(self.pid, format_args!("a request through the gateway fails"));
                return Err(failed);
            }
            if now >= until {
                return Ok(());
            }
            self.wait(Duration::from_secs(1)).await;
        }
    }
}

impl Clock for World {
    fn elapsed(&self) -> Duration {
        self.sim().now
    }

    async fn sleep(&self, duration: Duration) {
        self.pass("sleep").await;
        self.wait(duration).await;
    }

    fn now(&self) -> String {
        format!("{:.3}", self.sim().now.as_secs_f64())
    }

    fn seconds(&self) -> u64 {
        1_800_000_000 + self.sim().now.as_secs()
    }

    fn moment(&self) -> Option<Moment> {
        let sim = self.sim();
        Some(Moment::new(format!("boot {}", sim.boot), u64::try_from(sim.now.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Machine for World {
    async fn observe(&self, desired: &Desired, inventory: &[Resource], depth: Depth) -> Observation {
        self.pass("observe").await;
        let mut sim = self.sim();
        let now = sim.now;
        sim.truth.advance(now);
        let mut observed = machine::observe(&sim.truth, now, desired, inventory, depth);
        for (id, presence) in &mut observed.resources {
            if sim.is_blind(id.kind) {
                *presence = Presence::Unknown(Unseen::new("its manager does not answer"));
            }
        }
        observed
    }

    async fn perform(&self, execution: Execution<'_, Self>, step: &Step) -> Result<(), Failure> {
        let action = &step.action;
        let name = action.to_string();
        self.pass(&name).await;
        let (fault, hung, took) = {
            let mut sim = self.sim();
            sim.performed += 1;
            sim.plans(action);
            let nth = sim.performed;
            let fault = sim.episode.faults.iter().find(|fault| fault.step == nth).cloned();
            if fault.as_ref().is_some_and(|fault| fault.sticky) {
                sim.broken.insert(name.clone());
            }
            let sticky = Fault { step: nth, late: false, transient: false, sticky: true };
            let fault = fault.or_else(|| sim.broken.contains(&name).then_some(sticky));
            (fault, sim.hangs(), Duration::from_millis(u64::from(nth % 7) * 40))
        };
        if !self.sim().files.is_locked_by(self.pid) {
            self.sim().violation(format!("A14: process {} does `{name}` without the lock", self.pid));
        }
        let failed = |fault: &Fault| Failure {
            on: action.on().cloned(),
            why: "the system refused".to_owned(),
            hint: None,
            log: Vec::new(),
            retry: if fault.transient { Retry::Soon } else { Retry::Never },
            interrupted: false,
        };
        if let Some(fault) = fault.as_ref().filter(|fault| !fault.late) {
            self.sim().note(self.pid, format_args!("{name}: fails"));
            return Err(failed(fault));
        }
        if let Some(effect) = hung {
            self.wait(HANGS).await;
            if !effect {
                self.sim().note(self.pid, format_args!("{name}: times out"));
                return Err(Failure { why: "timed out".to_owned(), retry: Retry::Soon, ..failed(&Fault::default()) });
            }
        }
        if let Action::Try(trial) = action {
            return self.try_out(execution.cancel, trial, failed(&Fault::default())).await;
        }
        for part in 0..machine::parts(action) {
            self.wait(took).await;
            let done = {
                let mut sim = self.sim();
                let now = sim.now;
                sim.truth.advance(now);
                machine::perform(&mut sim.truth, now, execution.desired, execution.inventory, (action, part))
            };
            let outcome = if done.is_ok() { "done" } else { "fails" };
            self.sim().note(self.pid, format_args!("{name}: {outcome}"));
            done.map_err(|why| Failure { why, ..failed(&Fault::default()) })?;
            self.pass(&name).await;
        }
        match fault {
            Some(fault) => Err(failed(&fault)),
            None if hung.is_some() => Err(Failure { retry: Retry::Soon, ..failed(&Fault::default()) }),
            None => Ok(()),
        }
    }

    async fn inspect(&self, stack: &str, id: &ResourceId) -> Presence {
        if self.is_gone() {
            pending::<()>().await;
        }
        let mut sim = self.sim();
        let now = sim.now;
        sim.truth.advance(now);
        if sim.is_blind(id.kind) {
            return Presence::Unknown(Unseen::new("its manager does not answer"));
        }
        machine::inspect(&sim.truth, now, stack, id)
    }

    async fn health(&self, _: &str, _: (&ResourceId, &Run), live: &LiveRun) -> Result<Health, Foreign> {
        if self.is_gone() {
            pending::<()>().await;
        }
        let mut sim = self.sim();
        let now = sim.now;
        sim.truth.advance(now);
        let server = sim.truth.servers.values().find(|server| {
            let number = server.process.as_ref().map(|process| process.number.to_string());
            number.is_some() && number == live.identity
        });
        Ok(machine::health(server, now))
    }

    async fn contents(&self, desired: &Desired) -> BTreeMap<ResourceId, Digest> {
        self.pass("read the contents of the models").await;
        let sim = self.sim();
        models::contents(&sim.truth, sim.now, desired)
    }

    fn log_size(&self, _: &ResourceId) -> u64 {
        0
    }

    async fn log(&self, _: &str, _: &ResourceId) -> Vec<String> {
        Vec::new()
    }

    fn secret(&self, reference: &SecretReference) -> Result<Secret, secrets::Error> {
        match reference {
            SecretReference::Env(name) => Ok(Secret::new(format!("the value of {name}"))),
            SecretReference::File(path) => {
                let value = self.sim().truth.secrets.get(path).cloned();
                value.map(Secret::new).ok_or_else(|| secrets::Error::Missing(reference.clone()))
            }
        }
    }

    fn secret_digest(&self, reference: &SecretReference) -> Option<Digest> {
        match reference {
            SecretReference::Env(name) => Some(stacks::digest(name)),
            SecretReference::File(path) => self.sim().truth.secrets.get(path).map(|value| stacks::digest(value)),
        }
    }
}

/// Heartbeats of a process, until this is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat(World);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let mut sim = self.0.sim();
        let pid = self.0.pid;
        sim.beats.remove(&pid);
        for switch in sim.switches.values_mut().filter(|switch| switch.postponed_by == Some(pid)) {
            switch.postponed_by = None;
        }
    }
}

impl Outside for World {
    type Store = Disk;
    type Heartbeat = Heartbeat;

    async fn arm_timer(&self, switch: &Switch, _: &str) -> bool {
        self.pass("arm").await;
        if !self.sim().episode.timers {
            return false;
        }
        self.register(switch);
        self.pass("armed").await;
        true
    }

    async fn arm_process(&self, switch: &Switch) -> Result<(), detached::Error> {
        self.pass("arm a process").await;
        let mut sim = self.sim();
        if sim.episode.unattended {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(detached::Error::Log(files::Error::io("open", &switch.log, full)));
        }
        sim.note(self.pid, format_args!("arm a process for generation {}", switch.generation));
        sim.detached.push((switch.generation, switch.after));
        Ok(())
    }

    async fn heartbeat(&self, switch: &Switch, timer: bool) -> Heartbeat {
        let mut sim = self.sim();
        if timer {
            if let Some(armed) = sim.switches.get_mut(&switch.name) {
                armed.postponed_by = Some(self.pid);
            }
        } else {
            sim.beats.insert(self.pid, switch.file.clone());
        }
        Heartbeat(self.clone())
    }

    async fn disarm(&self, carrier: &Carrier) {
        self.pass("disarm").await;
        if let Carrier::Timer(name) = carrier {
            let mut sim = self.sim();
            sim.note(self.pid, format_args!("disarm {name}"));
            sim.switches.remove(name);
        }
    }
}
