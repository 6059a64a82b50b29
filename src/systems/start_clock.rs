//! The clock of a wait for a server that starts: busy is not dead, so it starts again whenever the server visibly
//! progresses, up to a hard cap. How often and what is examined meanwhile is decided by who waits.

use super::Failure;
use crate::resource::Run;
use std::time::Duration;

/// The growth of a server's memory or log that counts as progress, in bytes.
const GROWTH: u64 = 1 << 20;

/// One wait.
#[derive(Debug)]
pub struct StartClock<'a> {
    run: &'a Run,
    begun: Duration,
    progressed: Duration,
    size: u64,
}

impl<'a> StartClock<'a> {
    /// Starts the clock of a wait for a server.
    #[must_use]
    pub const fn new(run: &'a Run, now: Duration) -> Self {
        Self { run, begun: now, progressed: now, size: 0 }
    }

    /// Takes what the server has by now, in memory and log. Returns how long the wait has lasted once it is out of
    /// time.
    pub fn is_late(&mut self, size: u64, now: Duration) -> Option<Duration> {
        if size >= self.size + GROWTH {
            (self.size, self.progressed) = (size, now);
        }
        let waited = now.saturating_sub(self.begun);
        let idle = now.saturating_sub(self.progressed);
        let late = idle >= self.run.timeout.duration() || waited >= self.run.longest_start().duration();
        late.then_some(waited)
    }
}

/// Adds what to do about a server that is late.
#[must_use]
pub fn needs_longer(failure: Failure) -> Failure {
    Failure { hint: Some("if it only needs longer, raise `health.timeout` in the manifest".to_owned()), ..failure }
}
