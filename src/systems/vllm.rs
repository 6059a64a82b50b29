//! vLLM: whether it has loaded its model and its engine lives, and how it sleeps.

use super::http::{self, Answer, Client, Method};
use super::openai::{at, models, not_ok};
use super::{Hint, Retry};
use crate::resource::Health;
use std::time::{Duration, Instant};

/// How often it is asked whether it sleeps while it is on its way.
const EVERY: Duration = Duration::from_millis(200);

/// The longest wait for the answer whether it sleeps.
const WORD: Duration = Duration::from_secs(5);

/// Why it does not sleep, or does not wake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be asked.
    #[error("cannot ask it to {what}")]
    Recovered {
        /// What was asked.
        what: &'static str,
        /// What went wrong.
        source: http::Error,
    },
    /// It refuses.
    #[error("it refuses to {what}: {status}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The status.
        status: u16,
    },
    /// It takes too long.
    #[error("it was asked to {what} and has not for {} s", .after.as_secs())]
    Late {
        /// What was asked.
        what: &'static str,
        /// How long it had.
        after: Duration,
    },
}

impl Hint for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Recovered { source, .. } => source.retry(),
            Self::Refused { .. } => Retry::Never,
            Self::Late { .. } => Retry::Soon,
        }
    }
}

/// Returns whether the server at `endpoint` sleeps; `None` where it does not tell.
pub async fn is_asleep(client: &Client, endpoint: &str) -> Option<bool> {
    match client.get(&at(endpoint, "/is_sleeping"), None, WORD).await {
        Answer::Ok(body) => serde_json::from_str::<serde_json::Value>(&body).ok()?.get("is_sleeping")?.as_bool(),
        _ => None,
    }
}

/// Has the server at `endpoint` give its GPU's memory back, and waits until it has; the weights go to host memory.
pub async fn sleep(client: &Client, endpoint: &str, deadline: Duration) -> Result<(), Error> {
    change(client, endpoint, "/sleep?level=1", ("sleep", true), deadline).await
}

/// Wakes the server at `endpoint`, and waits until it is awake.
pub async fn wake(client: &Client, endpoint: &str, deadline: Duration) -> Result<(), Error> {
    change(client, endpoint, "/wake_up", ("wake up", false), deadline).await
}

async fn change(
    client: &Client,
    endpoint: &str,
    path: &str,
    (what, asleep): (&'static str, bool),
    deadline: Duration,
) -> Result<(), Error> {
    let begun = Instant::now();
    let answer = client.send(Method::Post, &at(endpoint, path), None, None, deadline).await;
    let status = answer.map_err(|source| Error::Recovered { what, source })?.status();
    if !(200..300).contains(&status) {
        return Err(Error::Refused { what, status });
    }
    while is_asleep(client, endpoint).await != Some(asleep) {
        if begun.elapsed() >= deadline {
            return Err(Error::Late { what, after: deadline });
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// Returns what it means that it does not listen.
pub(super) fn not_listening() -> Health {
    Health::loading("it does not listen before the model is there")
}

/// Asks whether the server at `endpoint` has loaded and offers `model`.
pub(super) async fn ask(client: &Client, endpoint: &str, model: &str, deadline: Duration) -> Health {
    match client.get(&at(endpoint, "/health"), None, deadline).await {
        Answer::Ok(_) => {}
        // It listens when the model is there and not before: whether it loads or is dead, its process tells.
        Answer::Refused => return not_listening(),
        Answer::Status(503, _) => return Health::unhealthy("its engine is dead"),
        other => return not_ok("/health", other),
    }
    match models(client, endpoint, None, deadline).await {
        Ok(offered) if offered.iter().any(|id| id == model) => Health::Healthy,
        Ok(offered) => Health::unhealthy(format!("it offers `{}` and not `{model}`", offered.join("`, `"))),
        Err(health) => health,
    }
}
