//! The time of day, for messages and for records that outlive a boot; and the time since boot, which two processes
//! can compare. Waits within one process use a [`Clock`] and depend on neither.

use super::{Systems, files, proc};
use crate::resource::Bytes;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// Returns the time with its offset from UTC, such as `2026-11-24 12:00:00 +01:00`.
#[must_use]
pub fn now() -> String {
    jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Returns the seconds since 1970.
#[must_use]
pub fn seconds() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Monotonic time, as all waiting code sees it. A simulation provides a clock that advances with its events.
#[expect(async_fn_in_trait, reason = "every user is generic over it, and nothing that holds one is spawned")]
pub trait Clock {
    /// Returns the time since some fixed moment; it never runs backwards.
    fn elapsed(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, duration: Duration);

    /// Returns the time of day with its offset from UTC.
    fn now(&self) -> String;

    /// Returns the seconds since 1970.
    fn seconds(&self) -> u64;

    /// Returns the current moment of this boot; `None` where it cannot be read.
    fn moment(&self) -> Option<Moment>;

    /// Returns the time until `moment`; zero if it has passed or belongs to an earlier boot.
    fn until(&self, moment: &Moment) -> Duration {
        self.moment().map_or(Duration::ZERO, |now| moment.since(&now))
    }
}

impl Clock for Systems {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn now(&self) -> String {
        now()
    }

    fn seconds(&self) -> u64 {
        seconds()
    }

    fn moment(&self) -> Option<Moment> {
        Moment::now()
    }
}

/// A moment of one boot, the same for every process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    boot: String,
    milliseconds: u64,
}

impl Moment {
    /// Returns the moment this many milliseconds after the start of a boot.
    #[must_use]
    pub const fn new(boot: String, milliseconds: u64) -> Self {
        Self { boot, milliseconds }
    }

    /// Returns the current moment; `None` where the kernel does not report it (`/proc/uptime`, proc(5)).
    fn now() -> Option<Self> {
        let text = files::read_text(Path::new("/proc/uptime"), Bytes(1024)).ok()??;
        let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
        let milliseconds = seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10;
        Some(Self { boot: proc::boot()?, milliseconds })
    }

    /// Returns the moment `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let later = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Self { milliseconds: self.milliseconds.saturating_add(later), ..self }
    }

    /// Returns the time from `now` until this moment; zero if it has passed or belongs to another boot.
    #[must_use]
    pub fn since(&self, now: &Self) -> Duration {
        let milliseconds = self.milliseconds.saturating_sub(now.milliseconds);
        if now.boot == self.boot { Duration::from_millis(milliseconds) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;
    use std::time::Duration;

    #[test]
    fn a_moment_lies_ahead_and_one_of_another_boot_has_passed() {
        let now = Moment::now().expect("a clock");
        let mut moment = now.clone().plus(Duration::from_secs(60));
        assert_eq!(moment.since(&now), Duration::from_secs(60));
        assert_eq!(now.since(&moment), Duration::ZERO);
        moment.boot = "another".to_owned();
        assert_eq!(moment.since(&now), Duration::ZERO);
    }
}
