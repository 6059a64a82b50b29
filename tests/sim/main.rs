//! The transaction in a simulated world: many runs, each with its own failures, all from seeds.
//!
//! The code that is tested is the product's own: observing aside, everything between `prepare` and the last record runs
//! as it does on a real machine. What is simulated is below it: the machine, its clock, the disk under the records, the
//! dead-man's switches, and the deaths of processes. `make simulate` runs many more.
#![expect(clippy::too_many_lines, reason = "a schedule and the simulated machine are tables of many cases")]

mod apply;
mod disk;
mod drive;
mod executor;
mod hand;
mod happen;
mod invariants;
mod machine;
mod models;
mod random;
mod regressions;
mod restarts;
mod schedule;
mod stacks;
mod sweep;
mod timing;
mod truth;
mod world;

use schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many runs an ordinary test run has.
const RUNS: u64 = 1_000;

/// Of how many instants of the sweep one is tried in an ordinary test run.
const SOME: u32 = 61;

/// How many schedules that break one statement are kept.
const MOST_SHOWN: usize = 8;

/// What came of many runs.
#[derive(Default)]
struct Met {
    /// How often each ending was met.
    ends: BTreeMap<String, u64>,
    /// The schedules that break each statement, by their numbers.
    broken: BTreeMap<String, BTreeMap<u64, Schedule>>,
    runs: u64,
    actions: BTreeSet<String>,
}

impl Met {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.actions.extend(other.actions);
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        for (statement, schedules) in other.broken {
            let all = self.broken.entry(statement).or_default();
            all.extend(schedules);
            while all.len() > MOST_SHOWN {
                all.pop_last();
            }
        }
    }
}

/// Runs so many schedules on all cores.
fn runs(count: u64, schedule: impl Fn(u64) -> Schedule + Sync) -> Met {
    let next = AtomicU64::new(0);
    let met: Mutex<Met> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Met::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let schedule = schedule(index);
                    let outcome = drive::run(&schedule);
                    mine.runs += 1;
                    mine.actions.extend(outcome.actions);
                    for end in &outcome.ends {
                        *mine.ends.entry(end.clone()).or_default() += 1;
                    }
                    if let Some(statement) = statement(&outcome.violations) {
                        let all = mine.broken.entry(statement).or_default();
                        if all.len() < MOST_SHOWN {
                            all.insert(index, schedule);
                        }
                    }
                }
                met.lock().expect("no panic").add(mine);
            });
        }
    });
    met.into_inner().expect("no panic")
}

/// Returns the number of the first statement that was broken.
fn statement(violations: &[String]) -> Option<String> {
    Some(violations.first()?.split(':').next().unwrap_or_default().to_owned())
}

/// Returns the simplest schedule that still breaks what one breaks, and its trace.
fn explain(schedule: &Schedule) -> String {
    let seed = schedule.seed;
    let kind = statement(&drive::run(schedule).violations);
    let small = schedule.clone().shrunk(|schedule| statement(&drive::run(schedule).violations) == kind);
    let outcome = drive::traced(&small);
    let trace = outcome.trace.join("\n");
    let episodes: Vec<String> = small.episodes.iter().map(schedule::Episode::shown).collect();
    let (episodes, violations) = (episodes.join("\n"), outcome.violations);
    format!("seed {seed}; the simplest schedule that does so:\n{episodes}\n{trace}\n{violations:#?}\n")
}

/// Fails if any statement was broken, and shows how.
#[track_caller]
fn expect_whole(met: &Met) {
    let shown = |schedules: &BTreeMap<u64, Schedule>| {
        let numbers: Vec<&u64> = schedules.keys().collect();
        let first = schedules.values().next().map(explain).unwrap_or_default();
        format!("broken by {numbers:?}; {first}")
    };
    let broken: Vec<String> = met.broken.values().map(shown).collect();
    assert!(broken.is_empty(), "{} statements are broken\n{}", broken.len(), broken.join("\n"));
}

/// Runs every schedule that broke a statement once.
fn expect_no_regression() {
    for (what, schedule) in regressions::all() {
        let violations = drive::run(&schedule).violations;
        assert!(violations.is_empty(), "{what}: {violations:#?}\n{}", explain(&schedule));
    }
}

/// Interrupts a few applies at one of so many instants in every way.
fn sweep(every: u32) -> Met {
    let schedules = sweep::schedules(every);
    runs(schedules.len() as u64, |index| schedules[usize::try_from(index).expect("an index")].clone())
}

/// Actions that no simulated stack leads to, and what reaches them.
const UNREACHED: &[(&str, &str)] = &[
    ("Purge", "no simulated stack is taken down: `bad::purge`"),
    (
        "VerifyArtifact",
        "no simulated model is a file of the user's own: `laws::coverage::the_generators_reach_every_case`",
    ),
    ("KeepContent", "no simulated model is pinned: `laws::coverage::the_generators_reach_every_case`"),
];

/// Returns the name of every action, from its declaration.
fn all_actions() -> BTreeSet<String> {
    let (_, after) =
        include_str!("../../crates/core/src/plan/step.rs").split_once("pub enum Action {").expect("it is there");
    let (body, _) = after.split_once("\n}").expect("its end");
    let variants =
        body.lines().filter_map(|line| line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase)));
    variants.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()).collect()
}

/// A promise about an action that never occurs would hold of anything.
#[track_caller]
fn expect_every_action(met: &Met) {
    let all = all_actions();
    assert!(all.len() > 30 && met.actions.is_subset(&all), "{all:?}");
    let unreached: Vec<&String> = all.difference(&met.actions).collect();
    let excused: Vec<&str> = UNREACHED.iter().map(|(action, _)| *action).collect();
    let missing: Vec<_> = unreached.iter().filter(|action| !excused.contains(&action.as_str())).collect();
    assert!(missing.is_empty(), "no run has {missing:?}");
}

#[test]
fn what_was_broken_once_stays_whole() {
    expect_no_regression();
}

#[test]
fn an_interruption_at_any_instant_keeps_every_promise() {
    let met = sweep(SOME);
    expect_whole(&met);
    for end in ["Committed", "RolledBack", "Interrupted", "Rehearsed", "Occupied"] {
        assert!(met.ends.contains_key(end), "{end} was never met in {:?}", met.ends);
    }
}

#[test]
fn generated_runs_keep_every_promise() {
    expect_no_regression();
    let mut met = runs(RUNS, Schedule::of);
    expect_whole(&met);
    met.add(sweep(u32::MAX));
    expect_every_action(&met);
    // Runs in which nothing ever happens would show nothing.
    for end in ["Committed", "RolledBack", "Stuck", "Abandoned", "Interrupted", "Nothing", "Refused", "Occupied"] {
        let count = met.ends.get(end).copied().unwrap_or_default();
        assert!(count >= 3, "{end} was met {count} times in {:?}", met.ends);
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..20 {
        let schedule = Schedule::of(seed);
        assert_eq!(schedule, Schedule::of(seed));
        let (one, other) = (drive::traced(&schedule), drive::traced(&schedule));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
#[ignore = "asked for by `make simulate`, or with SEED for one run"]
fn simulate() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        let outcome = drive::traced(&Schedule::of(seed));
        assert!(outcome.violations.is_empty(), "{:#?}\n{}", Schedule::of(seed), outcome.trace.join("\n"));
        return;
    }
    let (from, count) = (number("FROM").unwrap_or(0), number("RUNS").unwrap_or(100_000));
    expect_no_regression();
    let swept = sweep(1);
    expect_whole(&swept);
    let begun = std::time::Instant::now();
    let met = runs(count, |index| Schedule::of(from + index));
    expect_whole(&met);
    let rate = met.runs / begun.elapsed().as_secs().max(1);
    let Some(path) = std::env::var_os("REPORT") else { return };
    std::fs::write(path, report(from, rate, &met, &swept)).expect("the report is written");
}

fn report(from: u64, rate: u64, met: &Met, swept: &Met) -> String {
    let commit = std::env::var("COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    let count = met.runs;
    let passes: u64 = met.ends.values().sum();
    let rows: String = met.ends.iter().map(|(end, count)| format!("| {end} | {count} |\n")).collect();
    format!(
        "# Simulated runs\n\nWritten by `make simulate RUNS={count}`. What is simulated is in `tests/sim`.\n\n\
         - commit: {commit}\n- generated runs: {count}, {rate} a second\n- seeds: {from} to {}\n\
         - runs that interrupt an apply at every instant: {}\n- schedules that broke a statement once: {}\n\
         - applies that were not killed: {passes}\n- broken statements: none\n\n\
         | end of an apply | times |\n|---|---|\n{rows}",
        from + count - 1,
        swept.runs,
        regressions::all().len(),
    )
}
