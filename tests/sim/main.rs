//! The transaction in a simulated world: many runs, each with its own failures, all from seeds.
//!
//! The code that is tested is the product's own: observing aside, everything between `prepare` and the last record runs
//! as it does on a real machine. What is simulated is below it: the machine, its clock, the disk under the records, the
//! dead-man's switches, and the deaths of processes. `make simulate` runs many more.

mod disk;
mod drive;
mod executor;
mod invariants;
mod machine;
mod random;
mod schedule;
mod stacks;
mod truth;
mod world;

use schedule::Schedule;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many runs an ordinary test run has.
const RUNS: u64 = 300;

/// What came of many runs.
#[derive(Default)]
struct Met {
    /// How often each ending was met.
    ends: BTreeMap<String, u64>,
    /// The first seed that breaks each statement.
    broken: BTreeMap<String, u64>,
}

/// Runs seeds on all cores.
fn runs(from: u64, count: u64) -> Met {
    let next = AtomicU64::new(from);
    let met: Mutex<Met> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Met::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    let outcome = drive::run(&Schedule::of(seed));
                    for end in &outcome.ends {
                        *mine.ends.entry(end.clone()).or_default() += 1;
                    }
                    if let Some(statement) = statement(&outcome.violations) {
                        mine.broken.entry(statement).or_insert(seed);
                    }
                }
                let mut met = met.lock().expect("no panic");
                for (end, count) in mine.ends {
                    *met.ends.entry(end).or_default() += count;
                }
                for (statement, seed) in mine.broken {
                    let first = met.broken.entry(statement).or_insert(seed);
                    *first = seed.min(*first);
                }
            });
        }
    });
    met.into_inner().expect("no panic")
}

/// Returns the number of the first statement that was broken.
fn statement(violations: &[String]) -> Option<String> {
    Some(violations.first()?.split(':').next().unwrap_or_default().to_owned())
}

/// Returns the simplest schedule that still breaks what a seed breaks, and its trace.
fn explain(seed: u64) -> String {
    let schedule = Schedule::of(seed);
    let kind = statement(&drive::run(&schedule).violations);
    let small = schedule.shrunk(|schedule| statement(&drive::run(schedule).violations) == kind);
    let outcome = drive::run(&small);
    let trace = outcome.trace.join("\n");
    format!("seed {seed}; the simplest schedule that does so:\n{small:?}\n{trace}\n{:#?}\n", outcome.violations)
}

/// Fails if any statement was broken, and shows how.
#[track_caller]
fn expect_whole(met: &Met) {
    let broken: Vec<String> = met.broken.values().map(|seed| explain(*seed)).collect();
    assert!(broken.is_empty(), "{} statements are broken\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn generated_runs_keep_every_promise() {
    let met = runs(0, RUNS);
    expect_whole(&met);
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
        let (one, other) = (drive::run(&schedule), drive::run(&schedule));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
#[ignore = "asked for by `make simulate`, or with SEED for one run"]
fn simulate() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        let outcome = drive::run(&Schedule::of(seed));
        assert!(outcome.violations.is_empty(), "{:#?}\n{}", Schedule::of(seed), outcome.trace.join("\n"));
        return;
    }
    let (from, count) = (number("FROM").unwrap_or(0), number("RUNS").unwrap_or(100_000));
    let met = runs(from, count);
    expect_whole(&met);
    let Some(path) = std::env::var_os("REPORT") else { return };
    std::fs::write(path, report(from, count, &met)).expect("the report is written");
}

fn report(from: u64, count: u64, met: &Met) -> String {
    let commit = std::env::var("COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    let passes: u64 = met.ends.values().sum();
    let rows: String = met.ends.iter().map(|(end, count)| format!("| {end} | {count} |\n")).collect();
    format!(
        "# Simulated runs\n\nWritten by `make simulate RUNS={count}`. What is simulated is in `tests/sim`.\n\n\
         - commit: {commit}\n- runs: {count}\n- seeds: {from} to {}\n- applies that were not killed: {passes}\n- broken statements: none\n\n\
         | end of an apply | times |\n|---|---|\n{rows}",
        from + count - 1
    )
}
