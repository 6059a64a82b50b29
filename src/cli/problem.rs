//! What ends a verb early: an exit code, what is wrong, and what to do about it.

use super::color::{color, styled};
use super::exit::Exit;
use crate::history;
use crate::systems::{Hint, output};
use anstyle::AnsiColor;
use std::io::Write;

/// What ends a verb early.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Problem {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn of(error: &dyn Hint) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self { exit: Exit::Error, message, hint: error.hint() }
    }

    /// Tells it on standard error and returns the exit code.
    pub(super) fn tell(&self) -> Exit {
        error(&self.message, self.hint.as_deref());
        self.exit
    }
}

impl From<history::Error> for Problem {
    fn from(error: history::Error) -> Self {
        let exit = if matches!(error, history::Error::Occupied(_)) { Exit::Locked } else { Exit::Error };
        Self { exit, ..Self::of(&error) }
    }
}

impl From<crate::systems::sealed::Error> for Problem {
    fn from(error: crate::systems::sealed::Error) -> Self {
        Self::of(&error)
    }
}

impl From<crate::systems::files::Error> for Problem {
    fn from(error: crate::systems::files::Error) -> Self {
        Self::of(&error)
    }
}

impl From<output::Error> for Problem {
    fn from(error: output::Error) -> Self {
        let exit = if matches!(error, output::Error::Foreign { .. }) { Exit::Refused } else { Exit::Error };
        Self { exit, ..Self::of(&error) }
    }
}

/// Tells an error and its remedy.
pub(super) fn error(message: &str, hint: Option<&str>) {
    say(&format!("{} {message}", styled(color(AnsiColor::Red).bold(), "error:")));
    if let Some(hint) = hint {
        say(&format!("{} {hint}", styled(color(AnsiColor::Cyan), "hint:")));
    }
}

/// Writes a line to standard error. Where nobody can read it, as in a log on a full disk, the work goes on.
pub(super) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Tells something by the way.
pub(super) fn note(message: &str) {
    say(&format!("{} {message}", styled(color(AnsiColor::Cyan), "note:")));
}

/// Writes data to standard output. A reader that has had enough is no failure.
pub(super) fn print(text: &str) -> Result<(), Problem> {
    let mut output = anstream::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::new(Exit::Error, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON to standard output.
pub(super) fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Problem::new(Exit::Error, format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}
