//! Ollama's model API: the models present and loaded, and the commands that change both.
//!
//! Queries and short commands are here, `pull` has the long one, and `registry` is the remote end that Ollama pulls
//! from. Which models there should be is decided elsewhere, and no function here runs a completion.

mod error;
mod lines;
mod models;
mod pull;
mod registry;

pub use error::{Error, Fault};
pub use models::{Derived, Description, KeepAlive, Loaded, Tag};
pub use pull::Pull;
pub use registry::{Layer, RemoteManifest, manifest, missing};

use super::http::{Client, Incoming, Method, shown};
use super::openai::{at, message};
use crate::resource::OllamaName;
use lines::Lines;
use models::{Listed, null_is_empty};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The deadline of a query. It is long because `/api/tags` waits for the model list at startup.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest silence while Ollama creates one part of a new model: it copies no weights.
const CREATE_STALL: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// One Ollama server.
#[derive(Debug, Clone, Copy)]
pub struct Ollama<'a> {
    client: &'a Client,
    endpoint: &'a str,
}

impl<'a> Ollama<'a> {
    /// Returns the server at `endpoint`, an address without a path; nothing is requested yet.
    #[must_use]
    pub fn new(client: &'a Client, endpoint: &'a str) -> Self {
        Self { client, endpoint }
    }

    /// Returns its version.
    pub async fn version(self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let version: Version = self.read(Method::Get, "/api/version", None, None, "a version", DEADLINE).await?;
        Ok(version.version)
    }

    /// Returns the models present. Models that run on other machines are left out.
    pub async fn tags(self) -> Result<Vec<Tag>, Error> {
        Ok(self.models("/api/tags").await?.into_iter().filter_map(Listed::tag).collect())
    }

    /// Returns the loaded models, including those still loading.
    pub async fn ps(self) -> Result<Vec<Loaded>, Error> {
        Ok(self.models("/api/ps").await?.into_iter().filter_map(Listed::loaded).collect())
    }

    /// Returns the description of one model.
    pub async fn show(self, name: &OllamaName) -> Result<Description, Error> {
        let body = json!({"model": name.shortest()});
        self.read(Method::Post, "/api/show", Some(&body), Some(name), "a model's description", DEADLINE).await
    }

    /// Creates a model from an existing one, and replaces any model of its name. It never fetches: Ollama would
    /// silently pull a missing base model, so its presence is checked first.
    pub async fn create(self, derived: &Derived, cancel: &CancellationToken) -> Result<(), Error> {
        let Derived { name, from, parameters, template, system } = derived;
        let mut body = json!({"model": name.shortest(), "from": from.shortest(), "parameters": parameters});
        for (key, text) in [("template", template), ("system", system)] {
            if let Some(text) = text {
                body[key] = Value::from(text.as_str());
            }
        }
        let remedy = async {
            self.show(from).await?;
            let incoming = self.send(Method::Post, "/api/create", Some(&body), Some(name), CREATE_STALL).await?;
            let mut lines = Lines::new(incoming);
            loop {
                let line = timeout(CREATE_STALL, lines.next()).await;
                let late = |_| Error::Stalled { name: name.clone(), waited: CREATE_STALL };
                let network = |source| Error::Network { url: at(self.endpoint, "/api/create"), source };
                let Some(line) = line.map_err(late)?.map_err(network)? else {
                    return Err(Error::Cut { doing: "make", name: name.clone() });
                };
                if let Some(message) = line.error {
                    let fault = Fault::of(&message);
                    return Err(Error::Failed { doing: "make", name: name.clone(), message, fault });
                }
                if line.status == "success" {
                    return Ok(());
                }
            }
        };
        cancelled_or(cancel, remedy).await
    }

    /// Gives a model a second name; no layer is copied. An existing model of that name is replaced.
    pub async fn copy(self, from: &OllamaName, to: &OllamaName) -> Result<(), Error> {
        let body = json!({"source": from.shortest(), "destination": to.shortest()});
        self.send(Method::Post, "/api/copy", Some(&body), Some(from), DEADLINE).await.map(drop)
    }

    /// Removes a name, and the layers that no other name uses; a missing name is no error. A loaded model stays
    /// loaded.
    pub async fn delete(self, name: &OllamaName) -> Result<(), Error> {
        let body = json!({"model": name.shortest()});
        match self.send(Method::Delete, "/api/delete", Some(&body), Some(name), DEADLINE).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Loads a model and returns once it is loaded. `embedding` models need another endpoint than text models.
    pub async fn load(
        self,
        name: &OllamaName,
        keep_alive: KeepAlive,
        embedding: bool,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let mut body = json!({"model": name.shortest(), "stream": false});
        if keep_alive == KeepAlive::Forever {
            body["keep_alive"] = Value::from(-1);
        }
        let path = if embedding { "/api/embed" } else { "/api/generate" };
        cancelled_or(cancel, async { self.send(Method::Post, path, Some(&body), Some(name), deadline).await.map(drop) })
            .await
    }

    /// Unloads a model and returns once it is unloaded: Ollama waits for running requests. Other names of the same
    /// weights are unloaded with it.
    pub async fn unload(self, name: &OllamaName, deadline: Duration, cancel: &CancellationToken) -> Result<(), Error> {
        let body = json!({"model": name.shortest(), "keep_alive": 0, "stream": false});
        let begun = Instant::now();
        let remedy = async {
            let mut asked = self.send(Method::Post, "/api/generate", Some(&body), Some(name), DEADLINE).await;
            if matches!(asked, Err(Error::Status { status: 400, .. })) {
                // An embedding model has an endpoint of its own.
                asked = self.send(Method::Post, "/api/embed", Some(&body), Some(name), DEADLINE).await;
            }
            while self.ps().await?.iter().any(|loaded| loaded.name == *name) {
                // A deleted name cannot be unloaded; it expires.
                if let Err(error) = asked {
                    return Err(error);
                }
                if begun.elapsed() >= deadline {
                    return Err(Error::StillLoaded { name: name.clone(), waited: deadline });
                }
                sleep(POLL).await;
            }
            match asked {
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        cancelled_or(cancel, remedy).await
    }

    async fn models(self, path: &str) -> Result<Vec<Listed>, Error> {
        #[derive(Deserialize)]
        struct List {
            #[serde(deserialize_with = "null_is_empty")]
            models: Vec<Listed>,
        }
        let list: List = self.read(Method::Get, path, None, None, "a list of models", DEADLINE).await?;
        Ok(list.models)
    }

    async fn read<T: DeserializeOwned>(
        self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        name: Option<&OllamaName>,
        expected: &'static str,
        deadline: Duration,
    ) -> Result<T, Error> {
        let mut incoming = self.send(method, path, body, name, deadline).await?;
        let url = at(self.endpoint, path);
        let bytes = read_all(&mut incoming, &url, deadline).await?;
        let read = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.ok_or(Error::Strange { url, expected })
    }

    /// Sends one request and returns the head of a successful answer.
    async fn send(
        self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        name: Option<&OllamaName>,
        deadline: Duration,
    ) -> Result<Incoming, Error> {
        let url = at(self.endpoint, path);
        let sent = self.client.send(method, &url, None, body, deadline).await;
        let incoming = sent.map_err(|source| Error::Network { url: shown(&url), source })?;
        judge(incoming, &shown(&url), name).await
    }
}

/// Returns the answer if its status is a success, and otherwise the matching error.
async fn judge(mut incoming: Incoming, url: &str, name: Option<&OllamaName>) -> Result<Incoming, Error> {
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

async fn read_all(incoming: &mut Incoming, url: &str, deadline: Duration) -> Result<Option<Vec<u8>>, Error> {
    let late = |_| super::http::Error::Deadline { url: shown(url), deadline };
    let read = timeout(deadline, incoming.rest()).await.map_err(late).and_then(|read| read);
    read.map_err(|source| Error::Network { url: shown(url), source })
}

/// Waits for `work` unless it is cancelled: dropping it closes the connection, and Ollama stops.
async fn cancelled_or<T>(
    cancel: &CancellationToken,
    remedy: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        result = remedy => result,
    }
}
