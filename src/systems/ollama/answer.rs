//! Ollama's answers: their status, their body, and the wait for them.

use super::error::Error;
use crate::resource::OllamaName;
use crate::systems::http::{self, Incoming, shown};
use crate::systems::openai::message;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The deadline of a query. It is long because `/api/tags` waits for the model list at startup.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// Returns the answer if its status is a success, and otherwise the matching error.
pub(super) async fn judge(mut incoming: Incoming, url: &str, name: Option<&OllamaName>) -> Result<Incoming, Error> {
    let status = incoming.status();
    if (200..300).contains(&status) {
        return Ok(incoming);
    }
    let after = incoming.header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
    let url = url.to_owned();
    // The status suffices where the body does not arrive.
    let body = read_all(&mut incoming, &url, DEADLINE).await.ok().flatten().unwrap_or_default();
    let message = message(&String::from_utf8_lossy(&body));
    Err(match (status, name) {
        (404, Some(name)) => Error::NotFound { url, name: name.clone() },
        (401 | 403, _) => Error::Denied { url, status },
        (408 | 429 | 502..=504, _) => Error::Busy { url, status, message, after: after.map(Duration::from_secs) },
        _ => Error::Status { url, status, message },
    })
}

pub(super) async fn read_all(incoming: &mut Incoming, url: &str, deadline: Duration) -> Result<Option<Vec<u8>>, Error> {
    let late = |_| http::Error::Deadline { url: shown(url), deadline };
    let read = timeout(deadline, incoming.rest()).await.map_err(late).and_then(|read| read);
    read.map_err(|source| Error::Network { url: shown(url), source })
}

/// Waits for `work` unless it is cancelled: dropping it closes the connection, and Ollama stops.
pub(super) async fn cancelled_or<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        result = work => result,
    }
}
