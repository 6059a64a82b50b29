//! One Ollama server: its queries and short commands.

use super::answer::{DEADLINE, cancelled_or, judge, read_all};
use super::call::Call;
use super::error::{Error, Fault};
use super::lines::Lines;
use super::models::{Derived, Description, KeepAlive, Listed, Load, Loaded, Tag, null_is_empty};
use crate::resource::OllamaName;
use crate::systems::http::{Client, Command, Incoming, shown};
use crate::systems::openai::at;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The longest silence while Ollama creates one part of a new model: it copies no weights.
const CREATE_STALL: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// One Ollama server.
#[derive(Debug, Clone, Copy)]
pub struct Ollama<'a> {
    client: &'a Client,
    pub(super) endpoint: &'a str,
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
        let version: Version = self.read(Call::get("/api/version"), "a version", DEADLINE).await?;
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
        self.read(Call::post("/api/show", &body, name), "a model's description", DEADLINE).await
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
        let work = async {
            self.show(from).await?;
            let incoming = self.send(Call::post("/api/create", &body, name), CREATE_STALL).await?;
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
        cancelled_or(cancel, work).await
    }

    /// Gives a model a second name; no layer is copied. An existing model of that name is replaced.
    pub async fn copy(self, from: &OllamaName, to: &OllamaName) -> Result<(), Error> {
        let body = json!({"source": from.shortest(), "destination": to.shortest()});
        self.send(Call::post("/api/copy", &body, from), DEADLINE).await.map(drop)
    }

    /// Removes a name, and the layers that no other name uses; a missing name is no error. A loaded model stays
    /// loaded.
    pub async fn delete(self, name: &OllamaName) -> Result<(), Error> {
        let body = json!({"model": name.shortest()});
        match self.send(Call::delete("/api/delete", &body, name), DEADLINE).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Loads a model and returns once it is loaded.
    pub async fn load(self, model: Load<'_>, deadline: Duration, cancel: &CancellationToken) -> Result<(), Error> {
        let Load { name, keep_alive, embedding } = model;
        let mut body = json!({"model": name.shortest(), "stream": false});
        if keep_alive == KeepAlive::Forever {
            body["keep_alive"] = Value::from(-1);
        }
        let path = if embedding { "/api/embed" } else { "/api/generate" };
        cancelled_or(cancel, async { self.send(Call::post(path, &body, name), deadline).await.map(drop) }).await
    }

    /// Unloads a model and returns once it is unloaded: Ollama waits for running requests. Other names of the same
    /// weights are unloaded with it.
    pub async fn unload(self, name: &OllamaName, deadline: Duration, cancel: &CancellationToken) -> Result<(), Error> {
        let body = json!({"model": name.shortest(), "keep_alive": 0, "stream": false});
        let begun = Instant::now();
        let work = async {
            let mut asked = self.send(Call::post("/api/generate", &body, name), DEADLINE).await;
            if matches!(asked, Err(Error::Status { status: 400, .. })) {
                // An embedding model has an endpoint of its own.
                asked = self.send(Call::post("/api/embed", &body, name), DEADLINE).await;
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
        cancelled_or(cancel, work).await
    }

    async fn models(self, path: &str) -> Result<Vec<Listed>, Error> {
        #[derive(Deserialize)]
        struct List {
            #[serde(deserialize_with = "null_is_empty")]
            models: Vec<Listed>,
        }
        let list: List = self.read(Call::get(path), "a list of models", DEADLINE).await?;
        Ok(list.models)
    }

    /// Reads the answer to a call; `expected` says what it should be.
    async fn read<T: DeserializeOwned>(
        self,
        call: Call<'_>,
        expected: &'static str,
        deadline: Duration,
    ) -> Result<T, Error> {
        let mut incoming = self.send(call, deadline).await?;
        let url = at(self.endpoint, call.path);
        let bytes = read_all(&mut incoming, &url, deadline).await?;
        let read = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.ok_or(Error::Strange { url, expected })
    }

    /// Sends one call and returns the head of a successful answer.
    pub(super) async fn send(self, call: Call<'_>, deadline: Duration) -> Result<Incoming, Error> {
        let url = at(self.endpoint, call.path);
        let command = Command { method: call.method, url: &url, token: None, body: call.body };
        let sent = self.client.send(command, deadline).await;
        let incoming = sent.map_err(|source| Error::Network { url: shown(&url), source })?;
        judge(incoming, &shown(&url), call.name).await.map_err(Error::of_server)
    }
}
