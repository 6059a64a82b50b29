//! Plain data that many tests begin with and change.

use llamero_core::resource::{Command, Run, Runtime};

/// Returns a server of nothing but its command.
pub(crate) fn run(runtime: Runtime, words: &[&str]) -> Run {
    Run::plain(runtime, Command::words(words.iter().copied()))
}
