//! The systemd client against a manager that misbehaves (statements A17 and A18).

use crate::clock::{HANG, at_least, ends, until_async};
use crate::fakes::systemd::{FakeSystemd, Script, UNIT};
use llamero::systems::systemd::{ActiveState, Error, Job, JobResult, LoadState};
use llamero::systems::{Hint, Retry};
use std::time::Duration;

const LONG: Duration = HANG;

fn announced(result: JobResult) -> Job {
    Job { result, announced: true }
}

fn concluded(result: JobResult) -> Job {
    Job { result, announced: false }
}

#[tokio::test]
async fn a18_a_job_is_followed_to_its_announced_end() {
    for (word, result) in [
        ("done", JobResult::Done),
        ("failed", JobResult::Failed),
        ("canceled", JobResult::Canceled),
        ("timeout", JobResult::Timeout),
        ("dependency", JobResult::Dependency),
        ("skipped", JobResult::Skipped),
        ("frozen", JobResult::Other("frozen".to_owned())),
    ] {
        let (fake, systemd) = FakeSystemd::start(Script { result: word, ..Script::default() }).await;
        assert_eq!(systemd.start(UNIT, LONG).await.expect("an end"), announced(result));
        assert_eq!(fake.calls(), ["Subscribe", "ResetFailedUnit a.service", "StartUnit a.service replace"]);
    }
}

#[tokio::test]
async fn a18_a_signal_that_comes_before_the_answer_is_not_missed() {
    let script = Script { hurries: true, answers: Some(Duration::from_millis(50)), ..Script::default() };
    let (_fake, systemd) = FakeSystemd::start(script).await;
    assert_eq!(systemd.start(UNIT, LONG).await.expect("an end"), announced(JobResult::Done));
}

#[tokio::test]
async fn a18_a_crowd_of_other_jobs_does_not_stop_the_connection() {
    let (_fake, systemd) = FakeSystemd::start(Script { crowd: 2000, hurries: true, ..Script::default() }).await;
    assert_eq!(systemd.start(UNIT, LONG).await.expect("an end"), announced(JobResult::Done));
}

#[tokio::test]
async fn a18_a_lost_signal_is_made_up_for_by_the_state() {
    for (state, result) in [("active", JobResult::Done), ("failed", JobResult::Failed), ("inactive", JobResult::Failed)]
    {
        let (_fake, systemd) = FakeSystemd::start(Script { loses: true, state, ..Script::default() }).await;
        assert_eq!(systemd.start(UNIT, LONG).await.expect("an end"), concluded(result));
    }
    let (_fake, systemd) = FakeSystemd::start(Script { loses: true, state: "inactive", ..Script::default() }).await;
    assert_eq!(systemd.stop(UNIT, LONG).await.expect("an end"), concluded(JobResult::Done));
}

#[tokio::test]
async fn a18_a_job_merged_into_another_is_followed_there() {
    for loses in [false, true] {
        let takes = Duration::from_millis(600);
        let script = Script { merges: true, loses, takes, ..Script::default() };
        let (_fake, systemd) = FakeSystemd::start(script).await;
        let end = at_least(takes, Box::pin(systemd.start(UNIT, LONG))).await.expect("an end");
        assert_eq!(end, concluded(JobResult::Done));
    }
}

#[tokio::test]
async fn a17_a_manager_that_never_answers_times_out() {
    let (_fake, systemd) = FakeSystemd::start(Script { answers: None, loses: true, ..Script::default() }).await;
    let deadline = Duration::from_millis(300);
    let error = ends(systemd.start(UNIT, deadline)).await.expect_err("no end");
    assert!(matches!(error, Error::Deadline { after, .. } if after == deadline), "{error}");
    assert_eq!(error.to_string(), "start `a.service`: timed out after 0.3 s");
    assert_eq!(error.retry(), Retry::Soon);
}

#[tokio::test]
async fn a17_a_job_that_never_ends_times_out() {
    let (_fake, systemd) = FakeSystemd::start(Script { takes: LONG, ..Script::default() }).await;
    let error = systemd.start(UNIT, Duration::from_millis(300)).await.expect_err("no end");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a17_a_reload_that_hangs_ends() {
    let (_fake, systemd) = FakeSystemd::start(Script::default()).await;
    // Only from here: a paused clock would let the handshake's own deadline run out at once.
    tokio::time::pause();
    let error = systemd.reload().await.expect_err("no end");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a_late_answer_is_accepted() {
    let script = Script { answers: Some(Duration::from_millis(800)), takes: Duration::ZERO, ..Script::default() };
    let (_fake, systemd) = FakeSystemd::start(script).await;
    assert_eq!(systemd.start(UNIT, LONG).await.expect("an end"), announced(JobResult::Done));
}

#[tokio::test]
async fn a_lost_connection_is_an_error_at_once() {
    let (fake, systemd) = FakeSystemd::start(Script { takes: LONG, ..Script::default() }).await;
    let (outcome, ()) = tokio::join!(ends(systemd.start(UNIT, LONG)), async {
        until_async("the job is begun", async || fake.calls().len() == 3).await;
        fake.connection.clone().close().await.expect("a closed connection");
    });
    let error = outcome.expect_err("a lost connection");
    assert!(matches!(error, Error::Connection { .. }), "{error:?}");
}

#[tokio::test]
async fn errors_are_classified_by_status() {
    let (_fake, systemd) = FakeSystemd::start(Script::default()).await;
    let error = systemd.restart(UNIT, LONG).await.expect_err("a refusal");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(error.to_string(), "restart `a.service`: not allowed: Access denied");
}

#[tokio::test]
async fn unknown_states_and_largest_numbers_are_read() {
    let (_fake, systemd) = FakeSystemd::start(Script::default()).await;
    let units = systemd.units(&[UNIT.to_owned(), "missing.service".to_owned()]).await;
    let unit = units[UNIT].as_ref().expect("a unit");
    assert_eq!(unit.load_state, LoadState::Other("a-word-of-tomorrow".to_owned()));
    assert_eq!((&unit.active_state, unit.restarts, unit.memory_max), (&ActiveState::Inactive, 3, None));
    assert!(units["missing.service"].is_err(), "one unit's error is not another's");
}
