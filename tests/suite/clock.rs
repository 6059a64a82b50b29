//! The clock of the tests. No test may fail because a machine is slow, so a test counts work and waits for events; what
//! waits does so here, with a deadline that only ends a hang.

use std::future::Future;
use std::process::Child;
use std::time::{Duration, Instant};

/// The longest wait before a hang is assumed: far more than a slow machine needs.
pub(crate) const HANG: Duration = Duration::from_secs(300);

/// The interval between two checks of a condition that no event announces.
const POLL: Duration = Duration::from_millis(10);

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < HANG, "it never came to this: {what}");
        std::thread::sleep(POLL);
    }
}

/// Waits until a condition holds, and lets other tasks run meanwhile.
pub(crate) async fn until_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < HANG, "it never came to this: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until there is a value, and lets other tasks run meanwhile.
pub(crate) async fn found<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(begun.elapsed() < HANG, "it never came to this: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until a process ends; returns whether it did so in time.
pub(crate) fn ends_within(child: &mut Child, deadline: Duration) -> bool {
    let begun = Instant::now();
    while child.try_wait().expect("waited for").is_none() {
        if begun.elapsed() > deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// Returns the result of something that must end.
pub(crate) async fn ends<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("it never ends")
}

/// Asserts that something takes at least so long. It may always take longer.
pub(crate) async fn at_least<T>(least: Duration, future: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let result = ends(future).await;
    assert!(begun.elapsed() >= least, "it took {:?} and not at least {least:?}", begun.elapsed());
    result
}

/// Pauses where a fake answers late, or where a passage of time is itself what is tested. No result may depend on its
/// being long enough.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Pauses, and lets other tasks run meanwhile.
pub(crate) async fn pause_async(duration: Duration) {
    tokio::time::sleep(duration).await;
}
