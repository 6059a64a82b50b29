//! One run: episode after episode, each with its processes, until the machine is quiet; then what must hold is asked.

use crate::disk::Disk;
use crate::executor::{Executor, Pid};
use crate::invariants;
use crate::random::Random;
use crate::schedule::{Drift, Episode, Schedule};
use crate::stacks::{Declaration, Resolved, STACK, directories};
use crate::truth::{Behaviour, Definition, MarkedFile, Server, Truth};
use crate::world::{Sim, World};
use llamero::apply::Event;
use llamero::history::{self, History, Revision};
use llamero::live::RunState;
use llamero::observe::Depth;
use llamero::plan::{Phase, Plan};
use llamero::reconcile::{self, Confirmation, Finished, Fired, Options, Stack, fire, prepare, run_pass};
use llamero::resolve::Desired;
use llamero::resource::{Digest, Fingerprint, Kind, ResourceId, Seconds, Spec};
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

/// What processes leave for the invariants to look at.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) ends: Vec<(Declaration, End)>,
    pub(crate) fired: Vec<(u64, Result<Fired, String>)>,
    pub(crate) confirmed: Vec<Result<Confirmation, String>>,
    /// Every generation that was ever reported to be committed.
    pub(crate) committed: BTreeSet<u64>,
    /// The servers that the manifest of an apply shares with the committed generation and that were unhealthy before it.
    pub(crate) preexisting: BTreeSet<ResourceId>,
    pub(crate) before: Truth,
    /// How every apply of the run ended.
    pub(crate) met: Vec<String>,
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) shared: Arc<Mutex<Sim>>,
    pub(crate) notes: Arc<Mutex<Notes>>,
    executor: Executor,
    pids: Pid,
    random: Random,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<String>,
    pub(crate) ends: Vec<String>,
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
    }
}

/// Returns whether a resource is the server of a part of the stack.
fn is_part(id: &ResourceId, part: usize) -> bool {
    id.kind.runs() && id.name.contains(["alpha", "beta", "gamma", "small", "gateway"][part])
}

pub(crate) fn run(schedule: &Schedule) -> Outcome {
    let mut run = Run {
        shared: Arc::default(),
        notes: Arc::default(),
        executor: Executor::default(),
        pids: 0,
        random: Random::new(schedule.seed ^ 0x51),
    };
    run.sim().timers = crate::executor::Timers::default();
    for (index, episode) in schedule.episodes.iter().enumerate() {
        run.sim().note(0, &format!("== episode {} {:?}", index + 1, episode.declaration));
        run.episode(episode);
        invariants::after(&mut run, episode);
        if !run.sim().violations.is_empty() {
            return run.outcome();
        }
    }
    let last = schedule.episodes.last().expect("there is one");
    run.heal();
    let declaration = Declaration { rollback: true, warn: false, prune: true, ..last.declaration.clone() };
    let calm = Episode { declaration, timers: true, ..Episode::default() };
    run.sim().note(0, "== healed");
    run.episode(&calm);
    invariants::after(&mut run, &calm);
    invariants::healed(&mut run, &calm);
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
        let mut sim = self.sim();
        let (trace, violations) = (std::mem::take(&mut sim.trace), std::mem::take(&mut sim.violations));
        Outcome { trace, violations, ends }
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
            sim.files.writes = 0;
            sim.full = episode.full;
            for (part, behaviour) in &episode.behaviours {
                for (resource, _) in resolved.desired.runs().filter(|(resource, _)| is_part(&resource.id, *part)) {
                    let key = (resource.id.clone(), resource.fingerprint());
                    let good = committed.as_ref().and_then(|good| good.resources.get(&key.0));
                    if episode.spoiled || good.is_none_or(|good| good.fingerprint() != key.1) {
                        sim.truth.behaviours.insert(key, behaviour.clone());
                    }
                }
            }
        }
        let options = Options {
            fail_fast: episode.fail_fast,
            confirm_within: episode.confirming.map(|confirming| Seconds::new(confirming.within)),
            ..Options::default()
        };
        let cancel = CancellationToken::new();
        let world = self.world();
        let pid = world.pid;
        self.sim().kill = episode.kill.map(|(tick, _)| (pid, tick));
        let begun = self.sim().now;
        let mut events: Vec<(Duration, Happening)> = Vec::new();
        if let Some((after, twice)) = episode.cancel {
            let at = begun + Duration::from_millis(after);
            events.push((at, Happening::Cancel(cancel.clone())));
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
        let mut sim = self.sim();
        sim.full = None;
        sim.kill = None;
        sim.broken.clear();
    }

    fn prepare_notes(&mut self, desired: &Desired) {
        let committed = self.committed();
        let mut before = {
            let mut sim = self.sim();
            let now = sim.now;
            sim.truth.advance(now);
            sim.truth.clone()
        };
        before.behaviours.clear();
        let now = self.sim().now;
        let mut notes = self.notes();
        notes.ends.clear();
        notes.fired.clear();
        notes.confirmed.clear();
        notes.preexisting = committed
            .iter()
            .flat_map(Desired::runs)
            .filter(|(resource, _)| {
                desired.resources.get(&resource.id).is_some_and(|new| new.fingerprint() == resource.fingerprint())
            })
            .map(|(resource, _)| resource.id.clone())
            .filter(|id| before.servers.get(id).is_none_or(|server| !server.is_healthy(now)))
            .collect();
        notes.before = before;
    }

    pub(crate) fn committed(&mut self) -> Option<Desired> {
        self.ask(async |world| stack(&world).history.committed().ok().flatten().map(|good| good.revision.desired))
    }

    pub(crate) fn resolved(&self, declaration: &Declaration) -> Arc<Resolved> {
        declaration.resolved(!self.sim().truth.secrets.is_empty())
    }

    /// Lets everything happen until nobody is at work and nothing is armed.
    fn settle(&mut self, events: &mut Vec<(Duration, Happening)>) {
        let begun = self.sim().now;
        loop {
            let dead = self.sim().dead.clone();
            let polled = self.executor.poll(|pid| self.shared.lock().expect("no panic").dead.contains(&pid));
            self.bury(&dead);
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

    /// Clears away after processes that were killed since.
    fn bury(&mut self, before: &BTreeSet<Pid>) {
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
        sim.note(0, "the power is lost");
        sim.dead.extend(all);
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
        let moments = [timer, event, switch.as_ref().map(|(at, _)| *at)];
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
        for path in sim.beats.values().cloned().collect::<Vec<_>>() {
            if !sim.episode.deaf {
                sim.files.touch(&path);
            }
        }
        sim.timers.wake(now);
        if let Some((_, name)) = switch.filter(|(at, _)| *at <= now) {
            let (late, twice, deaf) =
                (Duration::from_secs(sim.episode.late), sim.episode.fires_twice, sim.episode.deaf);
            let armed = sim.switches.get_mut(&name).expect("it is armed");
            if armed.postponed_by.is_some() && !deaf {
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Cancel(cancel) => {
                self.sim().note(0, "it is cancelled");
                cancel.cancel();
            }
            Happening::Kill(pid) => {
                let before = self.sim().dead.clone();
                self.sim().note(pid, "is killed from outside");
                self.sim().dead.insert(pid);
                self.bury(&before);
            }
            Happening::Apply(declaration) => {
                let world = self.world();
                let notes = Arc::clone(&self.notes);
                world.sim().note(world.pid, "a second apply comes");
                let apply = apply(world.clone(), declaration, Options::default(), CancellationToken::new(), notes);
                self.executor.spawn(world.pid, apply);
            }
            Happening::Confirm => {
                let world = self.world();
                let notes = Arc::clone(&self.notes);
                self.executor.spawn(world.pid, async move {
                    let stack = stack(&world);
                    let report = report(&world, &notes, None);
                    let confirmed = reconcile::confirm(&stack, "sim", &report).await.map_err(|error| error.to_string());
                    world.sim().note(world.pid, &format!("confirm: {confirmed:?}"));
                    notes.lock().expect("no panic").confirmed.push(confirmed);
                });
            }
        }
    }

    fn fire(&mut self, generation: u64, deadline: Option<Duration>) {
        let world = self.world();
        let notes = Arc::clone(&self.notes);
        let killed = self.sim().episode.kill_switch.take();
        if let Some(tick) = killed {
            self.sim().kill = Some((world.pid, tick));
        }
        world.sim().note(world.pid, &format!("the switch of generation {generation} begins"));
        self.executor.spawn(world.pid, async move {
            let stack = stack(&world);
            let report = report(&world, &notes, None);
            let fired = fire(&stack, generation, deadline, &|_| {}, &report).await.map_err(|error| error.to_string());
            world.sim().note(world.pid, &format!("the switch of generation {generation}: {fired:?}"));
            notes.lock().expect("no panic").fired.push((generation, fired));
        });
    }

    fn drift(&mut self, drift: Drift) {
        let mut sim = self.sim();
        sim.note(0, &format!("by hand: {drift:?}"));
        let truth = &mut sim.truth;
        let server = |truth: &Truth, part: usize| truth.servers.keys().find(|id| is_part(id, part)).cloned();
        match drift {
            Drift::Stop(part) => {
                if let Some(id) = server(truth, part) {
                    truth.stop(&id);
                }
            }
            Drift::RemoveDefinition(part) => {
                if let Some(id) = server(truth, part).filter(|id| id.kind == Kind::Unit) {
                    let handoff = truth.servers[&id].handoff;
                    let server = truth.servers.get_mut(&id).expect("it is there");
                    if !handoff {
                        server.definition = None;
                    }
                }
            }
            Drift::EditDefinition(part) => {
                if let Some(id) = server(truth, part).filter(|id| id.kind == Kind::Unit)
                    && let Some(definition) = &mut truth.servers.get_mut(&id).expect("it is there").definition
                {
                    definition.intact = false;
                }
            }
            Drift::Disable(part) => {
                if let Some(id) = server(truth, part) {
                    truth.servers.get_mut(&id).expect("it is there").enabled = false;
                }
            }
            Drift::RemoveFiles => truth.files.retain(|_, file| file.owner.is_none()),
            Drift::EditFiles => truth.files.values_mut().for_each(|file| file.intact = false),
            Drift::RemoveEnvironments => truth.environments.clear(),
            Drift::RemoveArtifacts => truth.artifacts.clear(),
            Drift::ForeignFile => {
                if let Some(file) = truth.files.values_mut().next() {
                    *file = MarkedFile { owner: None, fingerprint: None, intact: true };
                }
            }
            Drift::ForeignServer(part) => {
                if let Some(id) = server(truth, part) {
                    let was = truth.servers[&id].definition.clone();
                    let Some(was) = was else { return };
                    let foreign = Definition { stack: None, fingerprint: Fingerprint::of(&BTreeMap::default()), ..was };
                    let server = Server { definition: Some(foreign), ..Server::default() };
                    truth.servers.insert(id, server);
                }
            }
            Drift::Sicken(part) => {
                if let Some(id) = server(truth, part) {
                    let server = truth.servers.get_mut(&id).expect("it is there");
                    if let Some(process) = &mut server.process {
                        process.behaviour.ready = None;
                        let key = (id.clone(), process.definition.fingerprint.clone());
                        let behaviour = Behaviour { ready: None, ..Behaviour::HEALTHY };
                        truth.behaviours.insert(key, behaviour);
                    }
                }
            }
        }
    }

    /// Puts the machine right, but not the stack.
    fn heal(&mut self) {
        let mut sim = self.sim();
        sim.truth.heal();
        sim.truth.files.retain(|_, file| file.owner.is_some());
        let foreign = |server: &Server| server.definition.as_ref().is_some_and(|definition| definition.stack.is_none());
        sim.truth.servers.retain(|_, server| !foreign(server));
        // Whatever waits to be started again is up by then.
        sim.now += Duration::from_secs(60);
        let now = sim.now;
        sim.truth.advance(now);
    }
}

/// Something that happens from outside.
enum Happening {
    Cancel(CancellationToken),
    Kill(Pid),
    Apply(Declaration),
    Confirm,
}

pub(crate) fn name(end: &End) -> String {
    match end {
        End::Occupied => "Occupied".to_owned(),
        End::Error(_) => "Error".to_owned(),
        End::Refused => "Refused".to_owned(),
        End::Nothing => "Nothing".to_owned(),
        End::Finished(finished) => format!("{:?}", finished.1.outcome.ending),
    }
}

/// Does what `llamero apply` does.
async fn apply(
    world: World,
    declaration: Declaration,
    options: Options,
    cancel: CancellationToken,
    notes: Arc<Mutex<Notes>>,
) {
    let end = match attempt(&world, &declaration, options, &cancel, &notes).await {
        Ok(end) => end,
        Err(history::Error::Occupied(_)) => End::Occupied,
        Err(error) => End::Error(error.to_string()),
    };
    if world.is_gone() {
        return;
    }
    let text = match &end {
        End::Finished(finished) => {
            let failures: Vec<_> = finished.1.failures.iter().chain(&finished.1.later_failures).collect();
            let whys: Vec<String> =
                failures.iter().map(|failure| format!("{:?}: {}", failure.on, failure.why)).collect();
            format!("ends: {:?} {whys:?}", finished.1.outcome.ending)
        }
        End::Error(why) => format!("ends: {why}"),
        other => format!("ends: {}", name(other)),
    };
    world.sim().note(world.pid, &text);
    let mut notes = notes.lock().expect("no panic");
    notes.met.push(name(&end));
    notes.ends.push((declaration, end));
}

async fn attempt(
    world: &World,
    declaration: &Declaration,
    options: Options,
    cancel: &CancellationToken,
    notes: &Arc<Mutex<Notes>>,
) -> Result<End, history::Error> {
    let stack = stack(world);
    let _lock = stack.history.lock("apply")?;
    let resolved = declaration.resolved(!world.sim().truth.secrets.is_empty());
    let prepared = prepare(&stack, revision(&resolved), Depth::Health, options).await?;
    if !prepared.plan.refusals.is_empty() {
        let whys: Vec<&String> = prepared.plan.refusals.iter().map(|refusal| &refusal.message).collect();
        world.sim().note(world.pid, &format!("refused: {whys:?}"));
        return Ok(End::Refused);
    }
    let committed = stack.history.committed()?;
    if prepared.plan.is_empty() && committed.is_some_and(|good| good.revision.desired == prepared.revision.desired) {
        if prepared.plan.changes.is_empty() {
            reconcile::disarm(&stack).await;
        }
        return Ok(End::Nothing);
    }
    let (plan, revision) = (prepared.plan.clone(), prepared.revision.clone());
    let report = report(world, notes, Some((cancel.clone(), revision.desired.policy.rollback)));
    let finished = run_pass(&stack, prepared, options, &report, cancel).await?;
    Ok(End::Finished(Box::new((plan, finished, revision))))
}

/// Returns what receives the events of a process, and what must hold at each.
fn report(
    world: &World,
    notes: &Arc<Mutex<Notes>>,
    forward: Option<(CancellationToken, bool)>,
) -> impl Fn(Event) + Send + Sync + use<> {
    let (world, notes) = (world.clone(), Arc::clone(notes));
    let back = std::sync::atomic::AtomicBool::new(false);
    move |event| {
        if world.is_gone() {
            return;
        }
        let is_back = back.load(std::sync::atomic::Ordering::Relaxed);
        match &event {
            Event::Started { step, .. } => {
                world.sim().note(world.pid, &format!("begins: {step}"));
                let cancelled = forward.as_ref().is_some_and(|(cancel, _)| cancel.is_cancelled());
                if cancelled && !is_back {
                    world.sim().violation(format!("A15: `{step}` begins after it was cancelled"));
                }
            }
            Event::Phase { phase: Phase::Switch | Phase::Canary, .. } => {
                let rollback = forward.as_ref().is_some_and(|(_, rollback)| *rollback);
                let mut sim = world.sim();
                let armed = !sim.switches.is_empty() || sim.beats.contains_key(&world.pid);
                if rollback && !is_back && !armed {
                    sim.violation("A30: the switch begins and no dead-man's switch is armed".to_owned());
                }
            }
            Event::RollingBack { to } => {
                back.store(true, std::sync::atomic::Ordering::Relaxed);
                world.sim().note(world.pid, &format!("rolls back to {to:?}"));
            }
            Event::Committed { generation } => {
                world.sim().note(world.pid, &format!("commits generation {generation}"));
                let mut notes = notes.lock().expect("no panic");
                notes.committed.insert(*generation);
            }
            Event::Failed { step, why } => world.sim().note(world.pid, &format!("failed: {step}: {why}")),
            _ => {}
        }
    }
}

/// Returns whether a server runs as a resource declares it.
pub(crate) fn runs_as_declared(truth: &Truth, id: &ResourceId, fingerprint: &Fingerprint) -> bool {
    truth.servers.get(id).is_some_and(|server| {
        let running = server.process.as_ref().map(|process| &process.definition.fingerprint);
        server.state == RunState::Running && running == Some(fingerprint)
    })
}

/// Returns whether a file is as a resource declares it.
pub(crate) fn file_as_declared(truth: &Truth, spec: &Spec, fingerprint: &Fingerprint) -> bool {
    let Spec::File(file) = spec else { return true };
    truth.files.get(&file.path).is_some_and(|file| file.fingerprint.as_ref() == Some(fingerprint))
}
