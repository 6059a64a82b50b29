//! What happens in one run: the stacks that are applied, and everything that goes wrong meanwhile. A seed makes one;
//! one that shows a fault is made smaller piece by piece.

use crate::random::Random;
use crate::stacks::{Declaration, PARTS};
use crate::truth::Behaviour;
use llamero::resource::Kind;
use std::time::Duration;

/// A step that fails.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fault {
    /// Which step of the episode, from 1.
    pub(crate) step: u32,
    /// Whether it has its effect all the same.
    pub(crate) late: bool,
    pub(crate) transient: bool,
    /// Whether the same action goes on failing for the rest of the episode.
    pub(crate) sticky: bool,
}

/// Something that is done to the machine by hand between two passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drift {
    Stop(usize),
    RemoveDefinition(usize),
    EditDefinition(usize),
    Disable(usize),
    RemoveFiles,
    EditFiles,
    RemoveEnvironments,
    RemoveArtifacts,
    /// Another program's file stands where one of the stack's was.
    ForeignFile,
    ForeignServer(usize),
    /// The registry has another content under the same name.
    RegistryMoves,
    /// A model is removed from its server.
    RemoveModels,
    /// A committed server becomes unhealthy, for good.
    Sicken(usize),
}

/// What happens to an apply at one of its instants, other than its death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It is cancelled.
    Cancel,
    /// Another apply comes.
    Second(Declaration),
    /// It is cancelled since another revision is to be applied, as soon as it has ended.
    Supersede(Declaration),
    /// It is stopped with SIGSTOP, and goes on so many seconds later.
    Suspend(u64),
}

/// A confirmation that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirming {
    pub(crate) within: u64,
    /// When it comes, in seconds after the apply began, if it does.
    pub(crate) comes: Option<u64>,
}

/// One apply, and what goes wrong around it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub(crate) struct Episode {
    pub(crate) declaration: Declaration,
    pub(crate) drift: Vec<Drift>,
    /// Whether the machine has timers for dead-man's switches.
    pub(crate) timers: bool,
    /// Whether a switch cannot be a process either.
    pub(crate) unattended: bool,
    pub(crate) fail_fast: bool,
    pub(crate) confirming: Option<Confirming>,
    /// What the servers of this declaration do once they are started.
    pub(crate) behaviours: Vec<(usize, Behaviour)>,
    /// Whether that is so also of servers of the committed generation.
    pub(crate) spoiled: bool,
    pub(crate) faults: Vec<Fault>,
    /// The writes of records from and to which the disk is full; where it is said, they are there and not synced.
    pub(crate) full: Option<(u32, u32, bool)>,
    /// At which of its instants the apply is killed, and whether the power is lost with it.
    pub(crate) kill: Option<(u32, bool)>,
    /// At which of its instants the dead-man's switch is killed.
    pub(crate) kill_switch: Option<u32>,
    /// After how many milliseconds it is cancelled, and whether it is killed a little later.
    pub(crate) cancel: Option<(u64, bool)>,
    /// When a second apply comes, in milliseconds, and of what.
    pub(crate) second: Option<(u64, Declaration)>,
    /// What happens at which of its instants.
    pub(crate) blow: Option<(u32, Blow)>,
    /// The step whose system does not answer until its deadline, and whether the step has its effect all the same.
    pub(crate) hung: Option<(u32, bool)>,
    /// From and until when, in milliseconds, the servers of a kind cannot be seen.
    pub(crate) blind: Option<(Kind, u64, u64)>,
    /// Whether it only rehearses.
    pub(crate) rehearse: bool,
    /// Whether requests through the gateway fail.
    pub(crate) broken_route: bool,
    /// Whether heartbeats are lost, so that the switch fires early.
    pub(crate) deaf: bool,
    pub(crate) fires_twice: bool,
    /// How much later than it should the switch fires, in seconds.
    pub(crate) late: u64,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) episodes: Vec<Episode>,
}

impl Episode {
    /// Returns what differs from an episode in which nothing goes wrong, field by field.
    pub(crate) fn shown(&self) -> String {
        let (all, plain) = (format!("{self:#?}"), format!("{:#?}", Self::default()));
        let fields = |text: &str| -> Vec<String> {
            let mut fields: Vec<String> = Vec::new();
            for line in text.lines().filter(|line| line.starts_with("    ")) {
                match fields.last_mut() {
                    Some(field) if line.starts_with("     ") || !line.contains(": ") => field.push_str(line.trim()),
                    _ => fields.push(line.trim().to_owned()),
                }
            }
            fields
        };
        let plain = fields(&plain);
        fields(&all).into_iter().filter(|field| !plain.contains(field)).collect::<Vec<_>>().join(" ")
    }
}

impl Default for Declaration {
    fn default() -> Self {
        Self {
            present: std::array::from_fn(|part| part == 0),
            versions: [0; PARTS],
            swapped: false,
            hands_on: true,
            warn: false,
            prune: true,
            rollback: true,
            canary: false,
        }
    }
}

fn declaration(random: &mut Random) -> Declaration {
    let mut declaration = Declaration {
        present: std::array::from_fn(|_| random.chance(1, 2)),
        versions: std::array::from_fn(|_| u8::try_from(random.below(4)).expect("small")),
        swapped: random.chance(1, 4),
        hands_on: random.chance(3, 4),
        warn: random.chance(1, 8),
        prune: !random.chance(1, 8),
        rollback: !random.chance(1, 10),
        canary: random.chance(1, 2),
    };
    if declaration.present == [false; PARTS] {
        declaration.present[0] = true;
    }
    declaration
}

/// Returns a declaration a little different from another.
fn edited(random: &mut Random, mut declaration: Declaration) -> Declaration {
    for _ in 0..=random.below(3) {
        let part = usize::try_from(random.below(PARTS as u64)).expect("small");
        match random.below(8) {
            0..=3 => declaration.versions[part] = (declaration.versions[part] + 1) % 4,
            4 | 5 => declaration.present[part] = !declaration.present[part],
            6 => declaration.swapped = !declaration.swapped,
            _ => declaration.prune = !declaration.prune,
        }
    }
    if declaration.present == [false; PARTS] {
        declaration.present[0] = true;
    }
    declaration
}

fn behaviour(random: &mut Random) -> Behaviour {
    let milliseconds = |random: &mut Random, to| Duration::from_millis(random.below(to));
    let healthy = Behaviour::HEALTHY;
    match random.below(9) {
        0 => Behaviour { ready: None, ..healthy },
        1 => Behaviour { ready: None, progress: true, ..healthy },
        2 => Behaviour { ready: Some(milliseconds(random, 60_000)), progress: true, ..healthy },
        3 => Behaviour { ready: Some(milliseconds(random, 30_000)), ..healthy },
        4 => Behaviour { dies: Some((milliseconds(random, 500), true)), ..healthy },
        5 => Behaviour { dies: Some((milliseconds(random, 8_000), true)), ..healthy },
        6 => Behaviour { dies: Some((milliseconds(random, 8_000), false)), ..healthy },
        7 => {
            let from = milliseconds(random, 8_000);
            Behaviour { unhealthy: Some((from, from + milliseconds(random, 4_000))), ..healthy }
        }
        _ => Behaviour { unhealthy: Some((milliseconds(random, 8_000), Duration::MAX)), ..healthy },
    }
}

fn part(random: &mut Random) -> usize {
    usize::try_from(random.below(PARTS as u64)).expect("small")
}

fn drift(random: &mut Random) -> Drift {
    let part = part(random);
    match random.below(15) {
        0..=2 => Drift::Stop(part),
        3 => Drift::RemoveDefinition(part),
        4 => Drift::EditDefinition(part),
        5 => Drift::Disable(part),
        6 => Drift::RemoveFiles,
        7 => Drift::EditFiles,
        8 => Drift::RemoveEnvironments,
        9 => Drift::RemoveArtifacts,
        10 => Drift::ForeignFile,
        11 => Drift::ForeignServer(part),
        12 => Drift::RegistryMoves,
        13 => Drift::RemoveModels,
        _ => Drift::Sicken(part),
    }
}

fn episode(random: &mut Random, declaration: Declaration, first: bool) -> Episode {
    let mut episode = Episode { declaration, timers: random.chance(2, 3), ..Episode::default() };
    if first && random.chance(2, 3) {
        return episode;
    }
    let small = |random: &mut Random, to: u64| u32::try_from(random.below(to)).expect("small");
    if random.chance(1, 3) {
        episode.drift = (0..=random.below(2)).map(|_| drift(random)).collect();
    }
    if random.chance(1, 2) {
        episode.behaviours = (0..=random.below(2)).map(|_| (part(random), behaviour(random))).collect();
        episode.spoiled = random.chance(1, 8);
    }
    if random.chance(1, 3) {
        let fault = |random: &mut Random| Fault {
            step: 1 + small(random, 30),
            late: random.chance(1, 3),
            transient: random.chance(1, 2),
            sticky: random.chance(1, 5),
        };
        episode.faults = (0..=random.below(2)).map(|_| fault(random)).collect();
    }
    if random.chance(2, 5) {
        episode.kill = Some((1 + small(random, 140), random.chance(1, 5)));
        episode.kill_switch = random.chance(1, 4).then(|| 1 + small(random, 60));
    }
    if random.chance(1, 6) {
        let from = 1 + small(random, 12);
        episode.full = Some((from, from + 1 + small(random, 6), random.chance(1, 3)));
    }
    if random.chance(1, 6) {
        episode.cancel = Some((random.below(20_000), random.chance(1, 4)));
    }
    if random.chance(1, 6) {
        let other = edited(random, episode.declaration.clone());
        episode.second = Some((random.below(90_000), other));
    }
    if random.chance(1, 6) && episode.declaration.rollback {
        let comes = random.chance(2, 3).then(|| random.below(60));
        episode.confirming = Some(Confirming { within: 5 + random.below(40), comes });
    }
    if random.chance(1, 4) {
        let other = |random: &mut Random| edited(random, episode.declaration.clone());
        let blow = match random.below(5) {
            0 => Blow::Cancel,
            1 => Blow::Second(other(random)),
            2 => Blow::Supersede(other(random)),
            _ => Blow::Suspend(1 + random.below(300)),
        };
        episode.blow = Some((1 + small(random, 120), blow));
    }
    if random.chance(1, 10) {
        episode.hung = Some((1 + small(random, 30), random.chance(1, 2)));
    }
    if random.chance(1, 10) {
        let kind = [Kind::Unit, Kind::Process, Kind::Container][usize::try_from(random.below(3)).expect("small")];
        let from = random.below(20_000);
        episode.blind = Some((kind, from, from + random.below(60_000)));
    }
    episode.broken_route = random.chance(1, 8);
    if random.chance(1, 16) {
        (episode.rehearse, episode.confirming) = (true, None);
    }
    episode.fail_fast = random.chance(1, 6);
    episode.unattended = random.chance(1, 12);
    episode.deaf = random.chance(1, 10);
    episode.fires_twice = random.chance(1, 10);
    episode.late = if random.chance(1, 10) { random.below(600) } else { 0 };
    episode
}

impl Schedule {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut current = declaration(&mut random);
        let mut episodes = vec![episode(&mut random, current.clone(), true)];
        for _ in 0..=random.below(3) {
            current = if random.chance(1, 8) { declaration(&mut random) } else { edited(&mut random, current) };
            episodes.push(episode(&mut random, current.clone(), false));
        }
        Self { seed, episodes }
    }

    /// Returns schedules that are a little simpler.
    fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for index in 0..self.episodes.len() {
            if self.episodes.len() > 1 {
                let mut less = self.clone();
                less.episodes.remove(index);
                simpler.push(less);
            }
            let mut with = |change: &dyn Fn(&mut Episode)| {
                let mut less = self.clone();
                change(&mut less.episodes[index]);
                if less != *self {
                    simpler.push(less);
                }
            };
            let episode = &self.episodes[index];
            for at in 0..episode.drift.len() {
                with(&|episode| {
                    episode.drift.remove(at);
                });
            }
            for at in 0..episode.behaviours.len() {
                with(&|episode| {
                    episode.behaviours.remove(at);
                });
            }
            for at in 0..episode.faults.len() {
                with(&|episode| {
                    episode.faults.remove(at);
                });
                with(&|episode| episode.faults[at].sticky = false);
                with(&|episode| episode.faults[at].late = false);
            }
            with(&|episode| episode.kill = None);
            with(&|episode| episode.kill = episode.kill.map(|(tick, _)| (tick, false)));
            with(&|episode| episode.kill_switch = None);
            with(&|episode| episode.full = None);
            with(&|episode| episode.cancel = None);
            with(&|episode| episode.cancel = episode.cancel.map(|(at, _)| (at, false)));
            with(&|episode| episode.second = None);
            with(&|episode| episode.confirming = None);
            with(&|episode| episode.blow = None);
            with(&|episode| episode.hung = None);
            with(&|episode| episode.blind = None);
            with(&|episode| episode.rehearse = false);
            with(&|episode| episode.broken_route = false);
            with(&|episode| episode.declaration.canary = false);
            with(&|episode| episode.spoiled = false);
            with(&|episode| episode.fail_fast = false);
            with(&|episode| episode.unattended = false);
            with(&|episode| episode.deaf = false);
            with(&|episode| episode.fires_twice = false);
            with(&|episode| episode.late = 0);
            with(&|episode| episode.timers = true);
            with(&|episode| episode.declaration.swapped = false);
            with(&|episode| episode.declaration.warn = false);
            with(&|episode| episode.declaration.prune = true);
            for part in 0..PARTS {
                if episode.declaration.present.iter().filter(|present| **present).count() > 1 {
                    with(&|episode| episode.declaration.present[part] = false);
                }
                with(&|episode| episode.declaration.versions[part] = 0);
            }
        }
        simpler
    }

    /// Returns the simplest schedule that `fails` still, tried greedily.
    pub(crate) fn shrunk(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        'again: loop {
            for simpler in self.simpler() {
                if fails(&simpler) {
                    self = simpler;
                    continue 'again;
                }
            }
            return self;
        }
    }
}
