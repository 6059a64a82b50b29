//! Plans and applies a manifest with the library alone: nothing here comes from the command line.
//!
//! ```text
//! plan_and_apply LLAMERO MANIFEST [--agree]
//! ```
//!
//! `LLAMERO` is the path of the `llamero` program: it supervises processes of the process runtime, and it carries out
//! the dead-man's switch if this process dies in the middle of an apply.

use llamero::apply::Event;
use llamero::history::Ending;
use llamero::plan::text;
use llamero::reconcile::{self, Notice, Request, Source, Verdict};
use llamero::systems::Hint;
use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [llamero, manifest, rest @ ..] = words.as_slice() else {
        return Err("usage: plan_and_apply LLAMERO MANIFEST [--agree]".into());
    };
    let agrees = rest.iter().any(|word| word == "--agree");
    let mut out = stdout();

    let notify = |notice: Notice<'_>| {
        let _ = match notice {
            Notice::Notes { path, notes, .. } => writeln!(stdout(), "{}: {} notes", path.display(), notes.len()),
            Notice::NotPinned(coverage) => writeln!(stdout(), "not pinned: {}", coverage.missing.join(", ")),
            Notice::Guard(guard) => writeln!(stdout(), "{guard}"),
        };
    };
    let source = Source::read(Some(manifest.as_ref()), &notify)?;
    let request = Request::new(source, PathBuf::from(llamero), "plan_and_apply".to_owned());
    // From here on nobody else changes the stack, until `pending` or `applied` is dropped.
    let pending = match reconcile::open(request, &notify).await {
        Ok(pending) => pending,
        Err(error) => {
            writeln!(out, "{:?}: {error}", error.kind())?;
            return Ok(ExitCode::FAILURE);
        }
    };
    for line in text::lines(&pending.prepared.plan) {
        writeln!(out, "{}", line.text)?;
    }
    match &pending.verdict {
        Verdict::Unchanged(unhealthy) => {
            writeln!(out, "nothing differs; {} unhealthy", unhealthy.len())?;
            return Ok(ExitCode::SUCCESS);
        }
        Verdict::Blocked(kind) => {
            writeln!(out, "blocked: {kind:?}")?;
            return Ok(ExitCode::FAILURE);
        }
        Verdict::Guarded(guard) => {
            writeln!(out, "{guard}")?;
            return Ok(ExitCode::FAILURE);
        }
        Verdict::Changes if !agrees => {
            writeln!(out, "not applied: pass --agree")?;
            return Ok(ExitCode::FAILURE);
        }
        Verdict::Changes | Verdict::Agreed | Verdict::Unverified | Verdict::Absent => {}
    }

    let report = |event: Event| {
        if let Event::Done { step, .. } = event {
            let _ = writeln!(stdout(), "done {step}");
        }
    };
    // Cancelling ends the pass after the current step; running it again continues.
    let cancel = CancellationToken::new();
    let applied = pending.run(&report, &cancel).await?;
    let finished = &applied.finished;
    for failure in &finished.failures {
        writeln!(out, "failed: {}", failure.why)?;
    }
    writeln!(out, "generation {}: {:?}", finished.generation, finished.outcome.ending)?;
    Ok(if finished.outcome.ending == Ending::Committed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
