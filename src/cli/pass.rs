//! A planned request on the terminal: shows the plan, asks for consent, shows progress, and says how it ended.

use super::arguments::PassArguments;
use super::color::{self, color, styled};
use super::problem::{Problem, error, note, print, to_stderr};
use super::progress::{Detail, Progress};
use super::{consent, exit::Exit};
use crate::apply::Failure;
use crate::history::{Ending, StepResult};
use crate::plan::text;
use crate::reconcile::{Applied, Finished, Pending, Stack, Verdict};
use crate::resource::ResourceId;
use crate::targets;
use anstyle::AnsiColor;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The presentation of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputMode {
    /// As the user asks for.
    pub(super) pass: PassArguments,
    /// True if the stack is taken down.
    pub(super) down: bool,
    /// True if nothing is to be changed.
    pub(super) dry_run: bool,
}

/// Carries out a request that was planned.
pub(super) async fn carry_out(pending: Pending, mode: OutputMode) -> Result<Exit, Problem> {
    if pending.verdict != Verdict::Absent {
        show(&pending, mode)?;
    }
    match &pending.verdict {
        Verdict::Blocked(kind) => return Ok(Exit::of(*kind)),
        Verdict::Guarded(guard) => return Err(guard.clone().into()),
        Verdict::Absent => {
            note(&format!("nothing of `{}` runs here", pending.stack.name));
            return Ok(Exit::Done);
        }
        Verdict::Unchanged(unhealthy) => {
            for (id, health) in unhealthy {
                note(&format!("{id} matches the manifest but is unhealthy: {health}"));
            }
            return Ok(Exit::differs(!unhealthy.is_empty()));
        }
        _ if mode.dry_run => return Ok(Exit::Done),
        Verdict::Unverified if !mode.pass.json && !pending.prepared.unverified().is_empty() => {
            note("running servers have not been verified against this manifest yet");
        }
        Verdict::Unverified | Verdict::Agreed => {}
        Verdict::Changes => consent::ask("Apply these changes?", mode.pass.yes)?,
    }
    let begun = Instant::now();
    let applied = Box::pin(run(pending, mode)).await?;
    Ok(conclude(&applied, begun, mode))
}

fn show(pending: &Pending, mode: OutputMode) -> Result<(), Problem> {
    let plan = &pending.prepared.plan;
    if mode.pass.json {
        return print(&format!("{}\n", json!({ "event": "planned", "plan": plan })));
    }
    to_stderr(color::text(&text::detailed(plan, mode.pass.verbose)).trim_end());
    Ok(())
}

async fn run(pending: Pending, mode: OutputMode) -> Result<Applied, Problem> {
    let cancel = CancellationToken::new();
    let progress = Progress::new(match mode {
        OutputMode { pass: PassArguments { json: true, .. }, .. } => Detail::Json,
        OutputMode { pass: PassArguments { verbose: true, .. }, .. } => Detail::Calls,
        _ => Detail::Resources,
    });
    let report = |event| progress.show(event);
    let applied = tokio::select! {
        // Signals are listened to before anything is done: until then the first ends the process.
        biased;
        never = interrupts(&cancel) => match never {},
        applied = pending.run(&report, &cancel) => applied?,
    };
    if mode.pass.json {
        let Finished { generation, current, outcome, .. } = &applied.finished;
        let last = json!({ "event": "finished", "generation": generation, "current": current, "outcome": outcome });
        // It is done, whether or not that can be printed.
        let _ = print(&format!("{last}\n")).map_err(|problem| problem.print());
    }
    Ok(applied)
}

/// Waits for signals: the first cancels in order, the second ends the process at once.
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
        note("finishing the current step; press Ctrl-C again to abort (the dead-man's switch then rolls back)");
        cancel.cancel();
    }
}

/// Prints how a pass ended, and returns the exit code.
fn conclude(applied: &Applied, begun: Instant, mode: OutputMode) -> Exit {
    let Applied { stack, finished, .. } = applied;
    for failure in finished.failures.iter().chain(&finished.later_failures) {
        report_failure(failure);
    }
    let exit = finished.failure().map_or(Exit::Done, Exit::of);
    let text = summary(stack, finished, begun.elapsed().as_secs(), mode);
    let succeeded = matches!(finished.outcome.ending, Ending::Committed | Ending::Rehearsed)
        && !finished.interrupted
        && finished.later_failures.is_empty();
    let tone = if succeeded { AnsiColor::Green } else { AnsiColor::Yellow };
    to_stderr(&styled(color(tone).bold(), &text));
    for id in &finished.outcome.unhealthy_before {
        note(&format!("{id} is unhealthy, as before"));
    }
    if exit == Exit::Stuck {
        print_commands(stack, finished);
    }
    exit
}

fn summary(stack: &Stack, finished: &Finished, seconds: u64, mode: OutputMode) -> String {
    let counts = counts(finished);
    let number = finished.generation;
    let on = finished.current.map_or_else(
        || "the machine is as it was before".to_owned(),
        |current| format!("the machine is on generation {current}"),
    );
    match finished.outcome.ending {
        Ending::Committed if finished.interrupted => {
            format!("Generation {number} committed; pruning was interrupted: {counts}. Run it again.")
        }
        Ending::Committed if !finished.later_failures.is_empty() => {
            format!("Generation {number} committed; pruning failed: {counts}.")
        }
        Ending::Committed if mode.down => format!("Took down {}: {counts}.", stack.name),
        Ending::Committed => format!("Applied generation {number} in {seconds} s: {counts}."),
        Ending::Abandoned if Exit::Transient == finished.failure().map_or(Exit::Done, Exit::of) => {
            format!("No running server was changed; {on}: {counts}. The failure is transient; retry.")
        }
        Ending::Abandoned => format!("No running server was changed; {on}: {counts}."),
        Ending::RolledBack => {
            let healthy = finished.current.is_some() && finished.outcome.unhealthy_before.is_empty();
            let healthy = if healthy { " and healthy" } else { "" };
            format!("Generation {number} failed and was rolled back; {on}{healthy}: {counts}.")
        }
        Ending::Rehearsed => format!("Rehearsed and rolled back; {on}: {counts}."),
        Ending::Interrupted => format!("Interrupted: {counts}. Run it again to continue."),
        Ending::Stuck if finished.outcome.rollback.is_empty() && finished.later_failures.is_empty() => {
            format!("Generation {number} failed and was not rolled back; manual intervention required: {counts}.")
        }
        Ending::Stuck => {
            format!("Generation {number} failed, and the rollback failed; manual intervention required: {counts}.")
        }
    }
}

fn counts(finished: &Finished) -> String {
    let count = |result| finished.outcome.steps.iter().filter(|step| step.result == result).count();
    let back = finished.outcome.rollback.iter().filter(|step| step.result == StepResult::Done).count();
    let parts = [
        (count(StepResult::Done), "done"),
        (count(StepResult::Failed), "failed"),
        (count(StepResult::NotAttempted), "not attempted"),
        (back, "rolled back"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

fn report_failure(failure: &Failure) {
    let on = failure.on.as_ref().map(|on| format!("{on}: ")).unwrap_or_default();
    error(&format!("{on}{}", failure.why), None);
    for line in &failure.log {
        to_stderr(&format!("  {} {line}", styled(anstyle::Style::new().dimmed(), "|")));
    }
    if let Some(hint) = &failure.hint {
        to_stderr(&format!("{} {hint}", styled(color(AnsiColor::Cyan), "hint:")));
    }
}

/// Prints what a user can do when a rollback failed.
fn print_commands(stack: &Stack, finished: &Finished) {
    to_stderr("What to do:");
    let failures = finished.failures.iter().chain(&finished.later_failures);
    let failed: BTreeSet<_> = failures.filter_map(|failure| failure.on.as_ref()).collect();
    let command = |id: &ResourceId| Some(targets::driver(id.kind)?.log_command(&stack.systems, id));
    for command in failed.into_iter().filter(|id| id.kind.runs()).filter_map(command) {
        to_stderr(&format!("  {command}"));
    }
    to_stderr(&format!("  llamero status --stack {}", stack.name));
    match finished.current {
        Some(current) => to_stderr(&format!("  llamero rollback {current} --stack {}", stack.name)),
        None => to_stderr("  fix the manifest, then `llamero apply`"),
    }
    to_stderr(&format!("  llamero down --stack {}", stack.name));
}
