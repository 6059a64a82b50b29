//! Sleep and waking of a server, by the calls that its engine gives.

use super::http::{self, Answer, Client, Command, Method};
use super::openai::at;
use super::{Hint, Retry};
use crate::resource::SleepCalls;
use std::time::{Duration, Instant};

/// The polling interval while it falls asleep or wakes.
const EVERY: Duration = Duration::from_millis(200);

/// The longest wait for the answer whether it sleeps.
const WORD: Duration = Duration::from_secs(5);

/// A failure to sleep or to wake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be asked.
    #[error("cannot ask it to {what}")]
    Unreachable {
        /// The request.
        what: &'static str,
        /// The cause.
        source: http::Error,
    },
    /// It refuses.
    #[error("it refuses to {what}: {status}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The status.
        status: u16,
    },
    /// It takes too long.
    #[error("it was asked to {what} and has not for {} s", .after.as_secs())]
    Late {
        /// The request.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
}

impl Hint for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { source, .. } => source.retry(),
            Self::Refused { .. } => Retry::Never,
            Self::Late { .. } => Retry::Soon,
        }
    }
}

/// Returns whether a server sleeps; `None` where it does not say.
pub async fn is_asleep(client: &Client, calls: &SleepCalls) -> Option<bool> {
    match client.get(&at(&calls.endpoint, &calls.state), None, WORD).await {
        Answer::Ok(body) => serde_json::from_str::<serde_json::Value>(&body).ok()?.get(&calls.key)?.as_bool(),
        _ => None,
    }
}

/// Has a server give its GPU's memory back, and waits until it has.
pub async fn sleep(client: &Client, calls: &SleepCalls, deadline: Duration) -> Result<(), Error> {
    change(client, calls, &calls.sleep, ("sleep", true), deadline).await
}

/// Wakes a server, and waits until it is awake.
pub async fn wake(client: &Client, calls: &SleepCalls, deadline: Duration) -> Result<(), Error> {
    change(client, calls, &calls.wake, ("wake up", false), deadline).await
}

async fn change(
    client: &Client,
    calls: &SleepCalls,
    path: &str,
    (what, asleep): (&'static str, bool),
    deadline: Duration,
) -> Result<(), Error> {
    let begun = Instant::now();
    let url = at(&calls.endpoint, path);
    let command = Command { method: Method::Post, url: &url, token: None, body: None };
    let answer = client.send(command, deadline).await;
    let status = answer.map_err(|source| Error::Unreachable { what, source })?.status();
    if !(200..300).contains(&status) {
        return Err(Error::Refused { what, status });
    }
    while is_asleep(client, calls).await != Some(asleep) {
        if begun.elapsed() >= deadline {
            return Err(Error::Late { what, after: deadline });
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}
