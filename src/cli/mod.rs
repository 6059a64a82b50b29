//! The command line: arguments, and everything that touches the terminal.
//!
//! A verb is a file of its own under `verbs`. They parse and print; `reconcile` decides and acts.

mod arguments;
mod color;
mod command_line;
mod consent;
mod exit;
mod input;
mod pass;
mod printable;
mod problem;
mod progress;
mod verbs;

pub use command_line::run;
pub use exit::Exit;
