//! The time of day, for people and for memories that outlive a boot; and the time since the boot, which two processes
//! can compare. Waits within one process use the monotonic clock of the standard library and are not touched by either.

use super::{files, proc};
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

/// A moment of one boot, the same for every process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    boot: String,
    milliseconds: u64,
}

impl Moment {
    /// Returns the moment that is `later` from now; `None` where the kernel does not tell (`/proc/uptime`, proc(5)).
    #[must_use]
    pub fn after(later: Duration) -> Option<Self> {
        let text = files::read_text(Path::new("/proc/uptime"), Bytes(1024)).ok()??;
        let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
        let milliseconds = seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10;
        let later = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Some(Self { boot: proc::boot()?, milliseconds: milliseconds.saturating_add(later) })
    }

    /// Returns how long it is until then; nothing where it has passed, or belongs to an earlier boot.
    #[must_use]
    pub fn left(&self) -> Duration {
        let now = Self::after(Duration::ZERO).filter(|now| now.boot == self.boot);
        now.map_or(Duration::ZERO, |now| Duration::from_millis(self.milliseconds.saturating_sub(now.milliseconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;
    use std::time::Duration;

    #[test]
    fn a_moment_comes_and_one_of_another_boot_has_passed() {
        let mut moment = Moment::after(Duration::from_secs(60)).expect("a clock");
        let left = moment.left();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
        moment.boot = "another".to_owned();
        assert_eq!(moment.left(), Duration::ZERO);
        assert_eq!(Moment::after(Duration::ZERO).expect("a clock").left(), Duration::ZERO);
    }
}
