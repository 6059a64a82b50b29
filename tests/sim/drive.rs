//! One run: episode after episode, each with its processes, until the machine is quiet; then what must hold is asked.

use crate::apply::apply;
use crate::disk::Disk;
use crate::executor::{Executor, Pid};
use crate::happen::Happening;
use crate::invariants;
use crate::random::Random;
use crate::schedule::{Episode, Schedule};
use crate::stacks::{Declaration, Resolved, STACK, directories};
use crate::timing;
use crate::truth::{Server, Truth};
use crate::world::{Sim, World};
use llamero::history::{History, Revision};
use llamero::live::RunState;
use llamero::plan::Plan;
use llamero::reconcile::{Confirmation, Finished, Fired, Options, Stack};
use llamero::resolve::Desired;
use llamero::resource::{Digest, Fingerprint, ResourceId, Seconds, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest that anything may go on by itself.
const LONGEST: Duration = Duration::from_secs(3 * 3600);

/// How one apply ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Another process holds the stack.
    Occupied,
    /// Its records could not be read or written, and nothing was begun.
    Error(String),
    /// The plan was refused.
    Refused,
    /// There was nothing to do.
    Nothing,
    /// It went to its end.
    Finished(Box<(Plan, Finished, Revision)>),
}

/// What an apply finds.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Whether the manifest was on record as failed for good.
    pub(crate) quarantined: bool,
    /// The start of each server that was up before the apply that died without an outcome, if one did.
    pub(crate) died: Option<BTreeMap<ResourceId, String>>,
    /// The servers that it shares with the committed generation and that are unhealthy.
    pub(crate) preexisting: BTreeSet<ResourceId>,
    /// The servers as they are.
    pub(crate) servers: BTreeMap<ResourceId, Server>,
    pub(crate) at: Duration,
}

/// An apply that came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) declaration: Declaration,
    pub(crate) end: End,
    pub(crate) before: Before,
    pub(crate) rehearsed: bool,
    /// The machine at that moment.
    pub(crate) truth: Truth,
}

/// What processes leave for the invariants to look at.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) ends: Vec<Ended>,
    pub(crate) fired: Vec<(u64, Result<Fired, String>)>,
    pub(crate) confirmed: Vec<Result<Confirmation, String>>,
    /// Every generation that was ever reported to be committed.
    pub(crate) committed: BTreeSet<u64>,
    /// When each generation of the episode was, and the machine at that moment.
    pub(crate) commits: BTreeMap<u64, (Duration, Truth)>,
    /// The servers that the manifest of an apply shares with the committed generation and that were unhealthy before
    /// it.
    pub(crate) preexisting: BTreeSet<ResourceId>,
    pub(crate) before: Arc<Truth>,
    /// Whether the server that pulls models answered before the apply.
    pub(crate) served: bool,
    /// How every apply of the run ended.
    pub(crate) met: Vec<String>,
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) shared: Arc<Mutex<Sim>>,
    pub(crate) notes: Arc<Mutex<Notes>>,
    pub(crate) executor: Executor,
    pids: Pid,
    ticks: u32,
    random: Random,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<String>,
    pub(crate) ends: Vec<String>,
    /// The actions that were planned or carried out.
    pub(crate) actions: BTreeSet<String>,
    /// The instants of the last apply.
    pub(crate) ticks: u32,
}

pub(crate) fn stack(world: &World) -> Stack<World> {
    let folder = directories().records(STACK);
    let history = History::within(Disk(world.clone()), folder);
    Stack { name: STACK.to_owned(), history, systems: world.clone(), program: PathBuf::from("/bin/llamero") }
}

pub(crate) fn revision(resolved: &Resolved) -> Revision {
    Revision {
        begun: "then".to_owned(),
        llamero: "simulated".to_owned(),
        manifest: PathBuf::from("/home/sim/stack/llamero.yaml"),
        manifest_digest: Digest::of(&resolved.text),
        lock_digest: None,
        manifest_text: resolved.text.clone(),
        origin: None,
        desired: resolved.desired.clone(),
        orphans: Vec::new(),
        changes: Vec::new(),
    }
}

/// Returns whether a resource is the server of a part of the stack.
pub(crate) fn is_part(id: &ResourceId, part: usize) -> bool {
    id.kind.runs() && id.name.contains(["alpha", "beta", "gamma", "small", "gateway", "ollama", "vllm"][part])
}

pub(crate) fn run(schedule: &Schedule) -> Outcome {
    run_with(schedule, None)
}

/// Does the same, and keeps a trace of what happens.
pub(crate) fn traced(schedule: &Schedule) -> Outcome {
    run_with(schedule, Some(Vec::new()))
}

fn run_with(schedule: &Schedule, trace: Option<Vec<String>>) -> Outcome {
    let mut run = Run {
        shared: Arc::default(),
        notes: Arc::default(),
        executor: Executor::default(),
        pids: 0,
        ticks: 0,
        random: Random::new(schedule.seed ^ 0x51),
    };
    run.sim().trace = trace;
    for (index, episode) in schedule.episodes.iter().enumerate() {
        run.sim().note(0, format_args!("== episode {} {:?}", index + 1, episode.declaration));
        run.episode(episode);
        invariants::after(&mut run, episode);
        if !run.sim().violations.is_empty() {
            return run.outcome();
        }
    }
    let last = schedule.episodes.last().expect("there is one");
    let ticks = run.ticks;
    let crashed = timing::crashing(&run);
    run.heal();
    timing::is_back(&run, &crashed);
    let declaration = Declaration { rollback: true, warn: false, prune: true, ..last.declaration.clone() };
    let calm = Episode { declaration, timers: true, ..Episode::default() };
    run.sim().note(0, format_args!("== healed"));
    run.episode(&calm);
    invariants::after(&mut run, &calm);
    invariants::healed(&mut run, &calm);
    run.ticks = ticks;
    run.outcome()
}

impl Run {
    pub(crate) fn sim(&self) -> MutexGuard<'_, Sim> {
        self.shared.lock().expect("no panic")
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no panic")
    }

    fn outcome(self) -> Outcome {
        let ends = std::mem::take(&mut self.notes().met);
        let ticks = self.ticks;
        let mut sim = self.sim();
        let trace = sim.trace.take().unwrap_or_default();
        let violations = std::mem::take(&mut sim.violations);
        let actions = std::mem::take(&mut sim.actions);
        Outcome { trace, violations, ends, actions, ticks }
    }

    pub(crate) fn world(&mut self) -> World {
        self.pids += 1;
        World { shared: Arc::clone(&self.shared), pid: self.pids }
    }

    /// Runs something to its end, with nothing else at work.
    pub(crate) fn ask<T: Send + 'static>(&mut self, question: impl AsyncFnOnce(World) -> T + 'static) -> T {
        let world = self.world();
        let pid = world.pid;
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        self.executor.spawn(pid, async move {
            let found = question(world).await;
            *place.lock().expect("no panic") = Some(found);
        });
        self.settle(&mut Vec::new());
        let answer = answer.lock().expect("no panic").take();
        answer.expect("a question has an answer")
    }

    fn episode(&mut self, episode: &Episode) {
        for drift in &episode.drift {
            self.drift(*drift);
        }
        let resolved = self.resolved(&episode.declaration);
        self.prepare_notes(&resolved.desired);
        {
            let committed = self.committed();
            let mut sim = self.sim();
            sim.episode = episode.clone();
            sim.performed = 0;
            sim.broken.clear();
            sim.firing.clear();
            sim.files.writes = 0;
            sim.full = episode.full;
            sim.begun = sim.now;
            (sim.cancelled, sim.answered) = (None, None);
            sim.arrivals.clear();
            sim.stopped.clear();
            for (part, behaviour) in &episode.behaviours {
                for (resource, _) in resolved.desired.runs().filter(|(resource, _)| is_part(&resource.id, *part)) {
                    let key = (resource.id.clone(), resource.fingerprint());
                    let good = committed.as_ref().and_then(|good| good.desired.resources.get(&key.0));
                    if episode.spoiled || good.is_none_or(|good| good.fingerprint() != key.1) {
                        sim.truth.behaviours.insert(key, behaviour.clone());
                    }
                }
            }
        }
        let options = Options {
            fail_fast: episode.fail_fast,
            rehearse: episode.rehearse,
            confirm_within: episode.confirming.map(|confirming| Seconds::new(confirming.within)),
            ..Options::default()
        };
        let cancel = CancellationToken::new();
        let world = self.world();
        let pid = world.pid;
        {
            let mut sim = self.sim();
            sim.kill = episode.kill.map(|(tick, _)| (pid, tick));
            sim.blow = episode.blow.clone().map(|(tick, blow)| (pid, tick, blow));
            sim.cancel = Some((pid, cancel.clone()));
        }
        let begun = self.sim().now;
        let mut events: Vec<(Duration, Happening)> = Vec::new();
        if let Some((after, twice)) = episode.cancel {
            let at = begun + Duration::from_millis(after);
            events.push((at, Happening::Cancel));
            if twice {
                events.push((at + Duration::from_millis(300), Happening::Kill(pid)));
            }
        }
        if let Some((after, declaration)) = &episode.second {
            events.push((begun + Duration::from_millis(*after), Happening::Apply(declaration.clone())));
        }
        if let Some(comes) = episode.confirming.and_then(|confirming| confirming.comes) {
            events.push((begun + Duration::from_secs(comes), Happening::Confirm));
        }
        let notes = Arc::clone(&self.notes);
        self.executor.spawn(pid, apply(world, episode.declaration.clone(), options, cancel, notes));
        self.settle(&mut events);
        let ticks = self.sim().ticks.get(&pid).copied();
        self.ticks = ticks.unwrap_or_default();
        let mut sim = self.sim();
        sim.full = None;
        (sim.kill, sim.blow, sim.cancel) = (None, None, None);
        sim.episode.blind = None;
        sim.broken.clear();
    }

    fn prepare_notes(&mut self, desired: &Desired) {
        let committed = self.committed();
        let before = self.truth_now();
        let now = self.sim().now;
        let mut notes = self.notes();
        notes.ends.clear();
        notes.fired.clear();
        notes.confirmed.clear();
        notes.commits.clear();
        notes.preexisting = unhealthy(committed.as_ref().map(|good| &good.desired), desired, &before, now);
        notes.served = before.servers.iter().any(|(id, server)| id.name.contains("ollama") && server.is_healthy(now));
        notes.before = Arc::new(before);
    }

    pub(crate) fn truth_now(&self) -> Truth {
        let mut sim = self.sim();
        let now = sim.now;
        sim.truth.advance(now);
        let mut truth = sim.truth.clone();
        truth.behaviours.clear();
        truth
    }

    pub(crate) fn committed(&mut self) -> Option<Arc<Revision>> {
        self.ask(async |world| stack(&world).history.committed().ok().flatten().map(|good| good.revision))
    }

    pub(crate) fn resolved(&self, declaration: &Declaration) -> Arc<Resolved> {
        declaration.resolved(!self.sim().truth.secrets.is_empty())
    }

    /// Lets everything happen until no process runs and nothing is armed.
    fn settle(&mut self, events: &mut Vec<(Duration, Happening)>) {
        let begun = self.sim().now;
        loop {
            let dead = self.sim().dead.clone();
            let polled = {
                let sim = || self.shared.lock().expect("no panic");
                self.executor.poll(|pid| sim().dead.contains(&pid), |pid| sim().stopped.contains_key(&pid))
            };
            self.bury(&dead);
            self.arrive();
            let detached = std::mem::take(&mut self.sim().detached);
            for (generation, after) in detached {
                self.fire(generation, Some(after));
            }
            if polled {
                continue;
            }
            if !self.advance(begun, events) {
                return;
            }
        }
    }

    /// Starts the applies that come.
    fn arrive(&mut self) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sim().arrivals).into_iter().partition(|(after, _)| !self.executor.runs(*after));
        self.sim().arrivals = later;
        for (_, declaration) in due {
            self.happen(Happening::Apply(declaration));
        }
    }

    /// Clears away after processes that were killed since.
    pub(crate) fn bury(&mut self, before: &BTreeSet<Pid>) {
        let new: Vec<Pid> = self.sim().dead.difference(before).copied().collect();
        for pid in new {
            self.sim().files.unlock(pid);
            let apply = self.sim().episode.kill;
            let killed = self.sim().kill.map(|(pid, _)| pid) == Some(pid);
            if killed && apply.is_some_and(|(_, power)| power) {
                self.lose_power();
            }
        }
        let dead = self.sim().dead.clone();
        self.executor.kill(|pid| dead.contains(&pid));
    }

    fn lose_power(&mut self) {
        let all: BTreeSet<Pid> = (1..=self.pids).collect();
        let mut random = self.random.clone();
        self.random.next();
        let mut sim = self.sim();
        sim.note(0, format_args!("the power is lost"));
        sim.dead.extend(all);
        sim.stopped.clear();
        sim.arrivals.clear();
        sim.boot += 1;
        sim.files.lose_power(|| random.chance(1, 2));
        sim.switches.clear();
        sim.detached.clear();
        sim.beats.clear();
        let now = sim.now;
        sim.truth.reboot(now);
    }

    /// Jumps to the next moment at which something happens; returns whether there is one.
    fn advance(&mut self, begun: Duration, events: &mut Vec<(Duration, Happening)>) -> bool {
        let idle = self.executor.is_idle();
        let mut sim = self.sim();
        let switch = sim.switches.iter().map(|(name, switch)| (switch.fires, name.clone())).min();
        let event = events.iter().map(|(at, _)| *at).min();
        let timer = if idle { None } else { sim.timers.next() };
        let resumed = sim.stopped.values().min().copied();
        let moments = [timer, event, resumed, switch.as_ref().map(|(at, _)| *at)];
        let Some(next) = moments.into_iter().flatten().min() else {
            if !idle {
                sim.violation("A17: a process waits for something that never comes".to_owned());
                drop(sim);
                self.executor = Executor::default();
            }
            return false;
        };
        if next > begun + LONGEST {
            sim.violation(format!("A17: after {} s it is still at work", LONGEST.as_secs()));
            drop(sim);
            self.executor = Executor::default();
            return false;
        }
        sim.now = sim.now.max(next);
        let now = sim.now;
        sim.stopped.retain(|_, until| *until > now);
        let awake = |pid: &Pid| !sim.stopped.contains_key(pid);
        let beats: Vec<PathBuf> =
            sim.beats.iter().filter(|(pid, _)| awake(pid)).map(|(_, path)| path.clone()).collect();
        for path in beats {
            if !sim.episode.deaf {
                sim.files.touch(&path);
            }
        }
        sim.timers.wake(now);
        if let Some((_, name)) = switch.filter(|(at, _)| *at <= now) {
            let (late, twice, deaf) =
                (Duration::from_secs(sim.episode.late), sim.episode.fires_twice, sim.episode.deaf);
            let stopped: BTreeSet<Pid> = sim.stopped.keys().copied().collect();
            let armed = sim.switches.get_mut(&name).expect("it is armed");
            if armed.postponed_by.is_some_and(|pid| !stopped.contains(&pid)) && !deaf {
                armed.fires = now + armed.after;
            } else if !late.is_zero() && armed.after != late {
                // Late once.
                (armed.fires, armed.after) = (now + late, late);
            } else {
                let armed = sim.switches.remove(&name).expect("it is armed");
                drop(sim);
                self.fire(armed.generation, None);
                if twice {
                    self.fire(armed.generation, None);
                }
                return true;
            }
        }
        drop(sim);
        let (due, later): (Vec<_>, Vec<_>) = events.drain(..).partition(|(at, _)| *at <= now);
        events.extend(later);
        for (_, happening) in due {
            self.happen(happening);
        }
        true
    }
}

/// Returns the servers that are declared, and were committed, and are unhealthy.
pub(crate) fn unhealthy(
    committed: Option<&Desired>,
    desired: &Desired,
    truth: &Truth,
    now: Duration,
) -> BTreeSet<ResourceId> {
    let known = committed.iter().flat_map(|good| good.runs()).map(|(resource, _)| &resource.id);
    let known = known.filter(|id| desired.resources.contains_key(id));
    known.filter(|id| truth.servers.get(id).is_none_or(|server| !server.is_healthy(now))).cloned().collect()
}

/// Returns whether a server runs as a resource declares it, or would if it did not die by itself.
pub(crate) fn runs_as_declared(truth: &Truth, id: &ResourceId, fingerprint: &Fingerprint) -> bool {
    truth.servers.get(id).is_some_and(|server| {
        let as_declared = server.process.as_ref().filter(|process| process.definition.fingerprint == *fingerprint);
        as_declared.is_some_and(|process| match server.state {
            RunState::Running => !process.asleep,
            RunState::BackingOff => process.behaviour.dies.is_some() && !process.clashed,
            _ => false,
        })
    })
}

/// Returns whether a file is as a resource declares it.
pub(crate) fn file_as_declared(truth: &Truth, spec: &Spec, fingerprint: &Fingerprint) -> bool {
    let Spec::File(file) = spec else { return true };
    truth.files.get(&file.path).is_some_and(|file| file.fingerprint.as_ref() == Some(fingerprint))
}
