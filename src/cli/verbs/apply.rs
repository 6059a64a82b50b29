//! `llamero apply`: makes the machine match the manifest, or a saved plan.

use super::super::color::{self, color, styled};
use super::super::exit::Exit;
use super::super::problem::{Problem, error, note, print, say};
use super::super::progress::Progress;
use super::super::{LockArgument, ManifestArgument, consent, load};
use super::plan::{SavedPlan, digest, exit};
use super::suspend;
use crate::apply::Failure;
use crate::history::{Ending, Revision, StepResult};
use crate::observe::Depth;
use crate::pace::{self, Next};
use crate::plan::text;
use crate::reconcile::{Finished, Options, Prepared, Stack, attempt, disarm, environment_digest, prepare, run_pass};
use crate::resolve::Desired;
use crate::resource::{Kind, Seconds};
use crate::systems::{Retry, clock};
use anstyle::AnsiColor;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Arguments {
    /// The manifest, or a plan that was saved
    #[command(flatten)]
    manifest: ManifestArgument,
    /// Agree to the changes beforehand
    #[arg(short, long)]
    yes: bool,
    /// Only fetch, and start what would take another's place out of clients' reach to prove that it is right
    #[arg(long, conflicts_with = "confirm_within")]
    rehearse: bool,
    /// Change this model's route first, and the others once requests for it have been answered for a while
    #[arg(long, value_name = "MODEL", conflicts_with = "rehearse")]
    canary: Option<String>,
    /// Remove more than half of what there is, if the manifest says so
    #[arg(long)]
    prune_anyway: bool,
    /// Stop at the first failure instead of going on with what does not depend on it
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    lock: LockArgument,
    /// Take it back unless `llamero confirm` is said so soon after all is well
    #[arg(long, value_name = "TIME")]
    confirm_within: Option<Seconds>,
    /// Take it back when this process gives no sign of life for so long
    #[arg(long, value_name = "DURATION", hide = true)]
    fire_after: Option<Seconds>,
    /// Print what happens as one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let saved = arguments.manifest.manifest.as_deref().map(SavedPlan::read).transpose()?.flatten();
    let argument = match &saved {
        Some(saved) => &ManifestArgument { manifest: Some(saved.manifest.clone()) },
        None => &arguments.manifest,
    };
    let loaded = load::manifest(argument)?;
    load::check_lock(&loaded, arguments.lock.locked)?;
    let mut revision = load::revision(&loaded).await?;
    if saved.is_some() && arguments.canary.is_some() {
        let problem = Problem::new(Exit::Error, "a saved plan says by itself what comes first; nothing was changed");
        return Err(problem.hint("say `--canary` when you plan: `llamero plan --canary MODEL -o FILE`"));
    }
    let saved_canary = saved.as_ref().and_then(|saved| saved.canary.as_deref());
    load::canary(&mut revision, &loaded, arguments.canary.as_deref().or(saved_canary))?;
    let stack = load::stack(&loaded.manifest.stack.value, &loaded.directories)?;
    let _lock = stack.history.lock(&command())?;
    suspend::check(&stack)?;
    if arguments.confirm_within.is_some() && !revision.desired.policy.rollback {
        let problem = Problem::new(Exit::Refused, "the manifest says `rollback: off`, and nothing would be taken back");
        return Err(problem.hint("leave out `--confirm-within`, or that policy"));
    }
    report_failures(&stack, &revision)?;
    let current = stack.history.current()?;
    if let Some(moved) = saved.as_ref().and_then(|saved| saved.moved(&revision.manifest_digest, current)) {
        return Err(stale(&moved));
    }
    let default = Options::default();
    if arguments.rehearse && current.is_none() {
        let problem = Problem::new(Exit::Refused, "nothing was applied yet, so there is nothing to go back to");
        return Err(problem.hint("leave out `--rehearse`: a first apply takes nothing from anybody"));
    }
    let options = Options {
        fail_fast: arguments.fail_fast,
        rehearse: arguments.rehearse,
        confirm_within: arguments.confirm_within,
        fire_after: arguments.fire_after.map_or(default.fire_after, Seconds::duration),
        ..default
    };
    let mut prepared = prepare(&stack, revision, Depth::Health, options).await?;
    if let Some(saved) = &saved {
        if saved.plan != serde_json::to_value(&prepared.plan).unwrap_or_default() {
            return Err(stale("the machine is not as it was"));
        }
        if saved.desired != digest(&prepared) {
            return Err(stale("a program or a secret that it needs is not as it was"));
        }
    }
    if arguments.rehearse && prepared.plan.first.is_some() {
        // The whole configuration is rehearsed, and not only how it begins.
        prepared.revision.desired.canary = None;
        prepared = prepare(&stack, prepared.revision, Depth::Health, options).await?;
    }
    carry_out(
        &stack,
        prepared,
        options,
        &OutputMode {
            yes: arguments.yes || saved.is_some(),
            json: arguments.json,
            down: false,
            prune_anyway: arguments.prune_anyway,
        },
    )
    .await
}

/// Says that a manifest failed before. A person asked, so it is tried all the same.
fn report_failures(stack: &Stack, revision: &Revision) -> Result<(), Problem> {
    let Some(attempt) = attempt(revision) else { return Ok(()) };
    let quarantine = stack.history.quarantine()?;
    if pace::next(&quarantine, &attempt, &environment_digest(revision), clock::seconds()) != Next::Try {
        for bad in quarantine.iter().filter(|bad| bad.attempt == attempt) {
            let times = if bad.times == 1 { "once".to_owned() } else { format!("{} times", bad.times) };
            note(&format!("this manifest failed before, {times}, the last time on {}: {}", bad.ended, bad.why));
        }
    }
    Ok(())
}

fn stale(moved: &str) -> Problem {
    Problem::new(Exit::Stale, format!("the saved plan is out of date: {moved}; nothing was changed"))
        .hint("plan again: `llamero plan -o FILE`")
}

/// Returns what llamero was called with, for whoever finds the lock taken.
pub(super) fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("llamero {}", words.join(" "))
}

/// How a turn talks to people.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct OutputMode {
    /// Whether they have agreed already.
    pub(super) yes: bool,
    /// Whether a program listens.
    pub(super) json: bool,
    /// Whether all of it is to go.
    pub(super) down: bool,
    /// Whether most of it may go.
    pub(super) prune_anyway: bool,
}

/// Shows a plan, asks, walks it and says how it ended.
pub(super) async fn carry_out(
    stack: &Stack,
    prepared: Prepared,
    options: Options,
    mode: &OutputMode,
) -> Result<Exit, Problem> {
    let plan = &prepared.plan;
    if mode.json {
        print(&format!("{}\n", json!({ "event": "planned", "plan": plan })))?;
    } else {
        say(color::text(&text::lines(plan)).trim_end());
    }
    if !plan.refusals.is_empty() {
        return Ok(exit(plan, false));
    }
    if let Some((removed, there)) = plan.removes_most().filter(|_| !mode.prune_anyway && !mode.down) {
        let message = format!("this would remove {removed} of {there} things; nothing was changed");
        let hint = "if it is meant, say `--prune-anyway`; `policy: {prune: false}` in the manifest leaves them";
        return Err(Problem::new(Exit::Refused, message).hint(hint));
    }
    let unhealthy = prepared.unhealthy();
    if plan.is_empty() && is_committed(stack, &prepared)? {
        // An apply that was killed may have left a watcher. Where drift is left alone, a server that it had stopped is left too.
        if plan.changes.is_empty() {
            disarm(stack).await;
        }
        for (id, health) in &unhealthy {
            note(&format!("{id} is as declared and not well: {health}"));
        }
        return Ok(if unhealthy.is_empty() { Exit::Done } else { Exit::Changes });
    }
    if plan.is_empty() && !mode.json && !prepared.unverified().is_empty() {
        note("what runs has not proved itself yet as it is declared now");
    }
    if !plan.is_empty() {
        consent::ask("Apply these changes?", mode.yes)?;
    }
    let begun = Instant::now();
    let cancel = CancellationToken::new();
    let progress = Progress::new(mode.json);
    let report = |event| progress.tell(event);
    let finished = tokio::select! {
        finished = run_pass(stack, prepared, options, &report, &cancel) => finished?,
        never = interrupts(&cancel) => match never {},
    };
    if mode.json {
        let last = json!({
            "event": "finished", "generation": finished.generation, "current": finished.current,
            "outcome": finished.outcome,
        });
        // It is done, whether or not anyone can be told.
        let _ = print(&format!("{last}\n")).map_err(|problem| problem.tell());
    }
    Ok(tell(stack, &finished, begun, mode))
}

fn is_committed(stack: &Stack, prepared: &Prepared) -> Result<bool, Problem> {
    let committed = stack.history.committed()?;
    // How it would be brought about is no part of what was.
    let desired = Desired { canary: None, ..prepared.revision.desired.clone() };
    Ok(committed.is_some_and(|generation| generation.revision.desired == desired))
}

/// Waits for people who want it to stop: the first time it ends in order, the second time at once.
async fn interrupts(cancel: &CancellationToken) -> std::convert::Infallible {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else { std::future::pending().await };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            #[expect(clippy::exit, reason = "every write is whole, so stopping here harms nothing")]
            std::process::exit(Exit::Interrupted as i32);
        }
        note("stopping after what is under way; once more to stop at once and be taken back a little later");
        cancel.cancel();
    }
}

/// Says how a turn ended, and returns the exit code.
fn tell(stack: &Stack, finished: &Finished, begun: Instant, mode: &OutputMode) -> Exit {
    for failure in finished.failures.iter().chain(&finished.later_failures) {
        report_failure(failure);
    }
    let counts = counts(finished);
    let number = finished.generation;
    let on = finished.current.map_or_else(
        || "the machine is as it was before".to_owned(),
        |current| format!("the machine is on generation {current}"),
    );
    let (exit, text) = match finished.outcome.ending {
        Ending::Committed if finished.interrupted => (
            Exit::Interrupted,
            format!("Generation {number} is good; clearing away was interrupted: {counts}. Run it again."),
        ),
        Ending::Committed if !finished.later_failures.is_empty() => {
            (Exit::Changes, format!("Applied generation {number}, and not everything could be cleared away: {counts}."))
        }
        Ending::Committed if mode.down => (Exit::Done, format!("Took down {}: {counts}.", stack.name)),
        Ending::Committed => {
            let seconds = begun.elapsed().as_secs();
            (Exit::Done, format!("Applied generation {number} in {seconds} s: {counts}."))
        }
        Ending::Abandoned if finished.failures.iter().all(|failure| failure.retry == Retry::Soon) => {
            (Exit::TimedOut, format!("Nothing that runs was touched; {on}: {counts}. Running it again may do."))
        }
        Ending::Abandoned => (Exit::Error, format!("Nothing that runs was touched; {on}: {counts}.")),
        Ending::RolledBack => {
            let well = finished.current.is_some() && finished.outcome.unhealthy_before.is_empty();
            let well = if well { " and healthy" } else { "" };
            (Exit::RolledBack, format!("Generation {number} failed and was taken back; {on}{well}: {counts}."))
        }
        Ending::Rehearsed => (Exit::Done, format!("Rehearsed, and cleared away again; {on}: {counts}.")),
        Ending::Interrupted => (Exit::Interrupted, format!("Interrupted: {counts}. Run it again to go on.")),
        Ending::Stuck => (Exit::Stuck, format!("Generation {number} failed and a person is needed: {counts}.")),
    };
    let tone = if exit == Exit::Done { AnsiColor::Green } else { AnsiColor::Yellow };
    say(&styled(color(tone).bold(), &text));
    for id in &finished.outcome.unhealthy_before {
        note(&format!("{id} is not healthy, as before"));
    }
    if exit == Exit::Stuck {
        print_commands(stack, finished);
    }
    if exit == Exit::Done && !finished.outcome.unhealthy_before.is_empty() { Exit::Changes } else { exit }
}

fn counts(finished: &Finished) -> String {
    let count = |result| finished.outcome.steps.iter().filter(|step| step.result == result).count();
    let back = finished.outcome.way_back.iter().filter(|step| step.result == StepResult::Done).count();
    let parts = [
        (count(StepResult::Done), "done"),
        (count(StepResult::Failed), "failed"),
        (count(StepResult::NotAttempted), "not attempted"),
        (back, "taken back"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

fn report_failure(failure: &Failure) {
    let on = failure.on.as_ref().map(|on| format!("{on}: ")).unwrap_or_default();
    error(&format!("{on}{}", failure.why), None);
    for line in &failure.log {
        say(&format!("  {} {line}", styled(anstyle::Style::new().dimmed(), "|")));
    }
    if let Some(hint) = &failure.hint {
        say(&format!("{} {hint}", styled(color(AnsiColor::Cyan), "hint:")));
    }
}

/// Prints what a person can do when going back could not finish.
fn print_commands(stack: &Stack, finished: &Finished) {
    say("What to do:");
    let failed: BTreeSet<_> =
        finished.failures.iter().chain(&finished.later_failures).filter_map(|failure| failure.on.as_ref()).collect();
    for id in failed {
        match id.kind {
            Kind::Unit => say(&format!("  systemctl --user status {}.service", id.name)),
            Kind::Container => say(&format!("  docker logs {}", id.name)),
            Kind::Process => say(&format!("  less {}", stack.systems.processes.log(&id.name).display())),
            _ => {}
        }
    }
    say(&format!("  llamero status --stack {}", stack.name));
    match finished.current {
        Some(current) => say(&format!("  llamero rollback {current} --stack {}", stack.name)),
        None => say("  mend the manifest, then `llamero apply`"),
    }
    say(&format!("  llamero down --stack {}", stack.name));
}
