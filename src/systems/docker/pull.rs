//! Pulls: the engine fetches an image and reports progress.

use super::{Docker, Engine, Error, Fault, Image};
use crate::resource::ImageName;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The speed, in bytes per second, at which even a slow disk unpacks; the engine may be silent meanwhile.
const SLOWEST_UNPACKING: u64 = 20 << 20;

/// The progress of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The bytes that are there, of the layers begun so far.
    pub received: u64,
    /// The bytes of those layers, where the engine reports them: the sum grows with each of them. Podman does not.
    pub total: Option<u64>,
    /// The engine's own status message.
    pub status: String,
}

/// The progress of each layer: the bytes present, and its size.
#[derive(Debug, Default)]
struct Layers {
    sizes: BTreeMap<String, (u64, u64)>,
    is_done: bool,
}

impl Layers {
    /// Takes in one line and returns what the engine is doing.
    fn note(&mut self, engine: Engine, line: CreateImageInfo) -> String {
        let status = line.status.unwrap_or_default();
        let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
        let detail = line.progress_detail.unwrap_or_default();
        let (current, total) = (positive(detail.current), positive(detail.total));
        if let Some(id) = line.id {
            // Unpacking counts the same bytes a second time.
            if status == "Downloading" && total > 0 {
                self.sizes.insert(id, (current.min(total), total));
            } else if status != "Downloading"
                && let Some((received, total)) = self.sizes.get_mut(&id)
            {
                *received = *total;
            }
        }
        self.is_done = match engine {
            // Its last words, after which nothing can fail.
            Engine::Docker => status.starts_with("Status: "),
            Engine::Podman => matches!(status.as_str(), "Download complete" | "Pull complete" | "Already exists"),
        };
        status
    }

    fn progress(&self, status: String) -> PullProgress {
        let sum = |part: fn(&(u64, u64)) -> u64| self.sizes.values().map(part).fold(0, u64::saturating_add);
        let total = Some(sum(|layer| layer.1)).filter(|_| !self.sizes.is_empty());
        PullProgress { received: sum(|layer| layer.0), total, status }
    }

    /// Returns the longest silence of the engine: it unpacks what it fetched, and Podman reports nothing meanwhile.
    fn patience(&self, stall: Duration) -> Duration {
        let received = self.sizes.values().fold(0, |sum, layer| layer.0.saturating_add(sum));
        stall + Duration::from_secs(received / SLOWEST_UNPACKING)
    }
}

impl Docker {
    /// Pulls an image with the credentials that Docker's own configuration has for its registry, and returns it. When
    /// it is called off the request is closed, and the engine stops; layers that it has stay for the next time.
    pub async fn pull(
        &self,
        name: &ImageName,
        on_progress: &(dyn Fn(PullProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Image, Error> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            result = self.pull_whole(name, on_progress) => result,
        }
    }

    async fn pull_whole(
        &self,
        name: &ImageName,
        on_progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<Image, Error> {
        let what = format!("pull `{name}`");
        let options = CreateImageOptions { from_image: Some(name.to_string()), ..Default::default() };
        let credentials = self.credentials(name).await?;
        let mut lines = Box::pin(self.api.create_image(Some(options), None, credentials));
        let mut layers = Layers::default();
        loop {
            let after = layers.patience(self.deadlines.stall);
            let line = timeout(after, lines.next()).await;
            let Some(line) = line.map_err(|_| Error::Deadline { what: what.clone(), after })? else { break };
            let line = line.map_err(|error| Error::of(&what, self.socket(), error))?;
            // A failure in a form that bollard does not know leaves nothing of the line.
            if line == CreateImageInfo::default() {
                let message = "it failed without a reason that can be read".to_owned();
                return Err(Error::Refused { what, message, fault: Fault::Other });
            }
            let status = layers.note(self.engine, line);
            on_progress(layers.progress(status));
        }
        if !layers.is_done {
            return Err(Error::Cut { what });
        }
        let missing = || Error::NotFound { what, message: "the engine has it no more".to_owned() };
        self.image(&name.to_string()).await?.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Engine, Layers};
    use serde_json::{Value, json};

    fn after(engine: Engine, lines: &[Value]) -> (u64, Option<u64>, bool) {
        let mut layers = Layers::default();
        let mut last = layers.progress(String::new());
        for line in lines {
            let status = layers.note(engine, serde_json::from_value(line.clone()).expect("a line"));
            last = layers.progress(status);
        }
        (last.received, last.total, layers.is_done)
    }

    fn line(id: &str, status: &str, current: i64, total: i64) -> Value {
        json!({"id": id, "status": status, "progressDetail": {"current": current, "total": total}})
    }

    #[test]
    fn layers_are_added_up_and_no_byte_counts_twice() {
        let mut lines = vec![
            json!({"status": "Pulling from t", "id": "1"}),
            line("a", "Downloading", 10, 100),
            line("b", "Downloading", 20, 50),
            line("c", "Downloading", 20, -1),
        ];
        assert_eq!(after(Engine::Docker, &lines), (30, Some(150), false));
        lines.push(json!({"status": "Download complete", "id": "a", "progressDetail": {}}));
        lines.push(line("a", "Extracting", 3, 0));
        lines.push(line("b", "Downloading", 90, 50));
        assert_eq!(after(Engine::Docker, &lines), (150, Some(150), false));
        lines.push(json!({"status": "Status: Downloaded newer image for t:1"}));
        assert_eq!(after(Engine::Docker, &lines), (150, Some(150), true));
        let podman = [json!({"status": "Download complete", "progressDetail": {}, "id": "dd9e"})];
        assert_eq!((after(Engine::Podman, &podman), after(Engine::Docker, &podman).2), ((0, None, true), false));
    }

    #[test]
    fn large_layers_may_take_their_time() {
        let mut layers = Layers::default();
        let large = line("a", "Downloading", 10 << 30, 10 << 30);
        layers.note(Engine::Docker, serde_json::from_value(large).expect("a line"));
        let stall = Duration::from_secs(120);
        assert_eq!(layers.patience(stall), stall + Duration::from_secs(512));
    }
}
