//! The time of day, for people. Waits use the monotonic clock of the standard library and are not touched by it.

/// Returns the time with its offset from UTC, such as `2026-11-24 12:00:00 +01:00`.
#[must_use]
pub fn now() -> String {
    jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}
