//! Pulls: Ollama fetches a model, and is asked again when it stops early. It keeps the bytes received and resumes.

use super::answer::cancelled_or;
use super::call::Call;
use super::error::{Error, Fault};
use super::lines::{Line, Lines};
use super::server::Ollama;
use crate::resource::OllamaName;
use crate::systems::downloads::{OnProgress, Patience, Progress};
use crate::systems::http::shown;
use crate::systems::openai::at;
use crate::systems::{Hint as _, Retry};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// The hashing speed in bytes per second of even a slow disk; Ollama is silent meanwhile.
const SLOWEST_HASHING: u64 = 20 << 20;

/// A model for Ollama to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its name.
    pub name: OllamaName,
    /// True if its registry is reached over plain HTTP.
    pub insecure: bool,
    /// The timeouts and retries.
    pub patience: Patience,
}

/// The most layers and the most states of one pull; real ones have some ten.
const MOST: usize = 1000;

/// The largest layer, in bytes: no disk is larger, so a larger number is no size.
const LARGEST: u64 = 1 << 46;

/// The progress of one attempt: for each layer the bytes received and its size.
#[derive(Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    /// Notes the progress of a layer, which only grows; returns false for what cannot be one.
    fn note(&mut self, line: Line) -> bool {
        let known = self.0.len();
        let layer = self.0.entry(line.digest).or_default();
        *layer = (line.completed.min(line.total).max(layer.0), line.total.max(layer.1));
        layer.1 <= LARGEST && known <= MOST
    }

    fn progress(&self) -> Progress {
        let sum = |part: fn(&(u64, u64)) -> u64| self.0.values().map(part).fold(0, u64::saturating_add);
        Progress { received: sum(|layer| layer.0), total: Some(sum(|layer| layer.1)).filter(|_| !self.0.is_empty()) }
    }
}

impl Ollama<'_> {
    /// Pulls a model. Progress covers the layers begun so far: the total grows with each of them.
    ///
    /// When it is cancelled the request is closed, and Ollama stops; the bytes received stay for the next attempt.
    pub async fn pull(self, pull: &Pull, progress: OnProgress<'_>, cancel: &CancellationToken) -> Result<(), Error> {
        let work = async {
            let (mut furthest, mut idle) = (0, 0);
            loop {
                let mut layers = Layers::default();
                let error = match self.pull_once(pull, &mut layers, progress).await {
                    Err(error) if error.retry() == Retry::Soon => error,
                    result => return result,
                };
                let received = layers.progress().received;
                idle = if received > furthest { 1 } else { idle + 1 };
                furthest = furthest.max(received);
                if idle >= pull.patience.tries {
                    return Err(error);
                }
                let asked = if let Error::Busy { after, .. } = error { after } else { None };
                sleep(pull.patience.pause_after(idle, asked)).await;
            }
        };
        cancelled_or(cancel, work).await
    }

    async fn pull_once(self, pull: &Pull, layers: &mut Layers, progress: OnProgress<'_>) -> Result<(), Error> {
        let Pull { name, insecure, patience } = pull;
        let body = json!({"model": name.shortest(), "insecure": insecure});
        let incoming = self.send(Call::post("/api/pull", &body, name), patience.stall).await?;
        let mut lines = Lines::new(incoming);
        let mut states: BTreeSet<String> = BTreeSet::new();
        let mut waited = patience.stall;
        let mut last_news = Instant::now();
        loop {
            // Ollama repeats itself many times a second, even while nothing arrives: only more bytes and states that
            // have not been seen count as progress.
            let line = timeout_at(last_news + waited, lines.next()).await;
            let line = line.map_err(|_| Error::Stalled { name: name.clone(), waited })?;
            let line = line.map_err(|source| Error::Network { url: shown(&at(self.endpoint, "/api/pull")), source })?;
            let line = line.ok_or_else(|| Error::Cut { doing: "pull", name: name.clone() })?;
            if let Some(message) = line.error {
                let fault = Fault::of(&message);
                return Err(Error::Failed { doing: "pull", name: name.clone(), message, fault });
            }
            if line.status == "success" {
                return Ok(());
            }
            let before = layers.progress();
            if states.len() < MOST && states.insert(line.status.clone()) {
                last_news = Instant::now();
                waited = patience.stall + quiet(&line.status, before.received);
            }
            if line.total > 0 {
                if !layers.note(line) {
                    let url = shown(&at(self.endpoint, "/api/pull"));
                    return Err(Error::Strange { url, expected: "the progress of a pull" });
                }
                let now = layers.progress();
                if now.received > before.received {
                    last_news = Instant::now();
                }
                if now != before {
                    progress(now);
                }
            }
        }
    }
}

/// Returns the longest silence to accept: Ollama hashes everything it fetched without reporting progress.
fn quiet(status: &str, received: u64) -> Duration {
    if status.starts_with("verifying") { Duration::from_secs(received / SLOWEST_HASHING) } else { Duration::ZERO }
}
