//! The early end of a verb: the kind of failure, its message, and a hint.

use super::color::{color, styled};
use super::exit::Exit;
use super::printable::printable;
use crate::systems::{FailureKind, Hint};
use anstyle::AnsiColor;
use std::io::Write;

/// The early end of a verb.
#[derive(Debug)]
pub(super) struct Problem {
    kind: FailureKind,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Prints it on standard error and returns the exit code.
    pub(super) fn print(&self) -> Exit {
        error(&self.message, self.hint.as_deref());
        Exit::of(self.kind)
    }
}

impl<E: Hint> From<E> for Problem {
    fn from(error: E) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let message = causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"));
        Self { kind: error.kind(), message, hint: error.hint() }
    }
}

/// Prints an error and its hint.
pub(super) fn error(message: &str, hint: Option<&str>) {
    to_stderr(&format!("{} {message}", styled(color(AnsiColor::Red).bold(), "error:")));
    if let Some(hint) = hint {
        to_stderr(&format!("{} {hint}", styled(color(AnsiColor::Cyan), "hint:")));
    }
}

/// Writes a line to standard error. Where it cannot be written, as in a log on a full disk, the work goes on.
pub(super) fn to_stderr(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", printable(text));
}

/// Writes a question to standard error; the answer is typed behind it.
pub(super) fn prompt(question: &str) {
    let mut errors = anstream::stderr();
    let _ = write!(errors, "{}", printable(question)).and_then(|()| errors.flush());
}

/// Prints a remark.
pub(super) fn note(message: &str) {
    to_stderr(&format!("{} {message}", styled(color(AnsiColor::Cyan), "note:")));
}

/// Writes data to standard output. A reader that has had enough is no failure.
pub(super) fn print(text: &str) -> Result<(), Problem> {
    let mut output = anstream::stdout();
    match output.write_all(printable(text).as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::new(FailureKind::Error, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON to standard output.
pub(super) fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Problem::new(FailureKind::Error, format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}
