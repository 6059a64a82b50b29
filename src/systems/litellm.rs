//! The `LiteLLM` proxy: whether it serves exactly the models that it was given, and whether a model answers through it.
//!
//! `/health` is never asked: it runs a completion on every deployment, and so loads every model.

use super::http::{self, Answer, Client, Method};
use super::listener::Proven;
use super::openai::{at, message, models, not_ok};
use super::{Hint, Retry};
use crate::manifest::Mode;
use crate::resource::Health;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Asks whether the gateway at `endpoint` is ready and offers `intended`, no more and no less. A deployment that
/// `LiteLLM` could not make is missing from its list and from nothing else, so the list is the proof.
pub(super) async fn ask(
    client: &Client,
    endpoint: &str,
    intended: &[String],
    token: Option<&str>,
    deadline: Duration,
) -> Health {
    match client.get(&at(endpoint, "/health/readiness"), None, deadline).await {
        Answer::Ok(_) => {}
        other => return not_ok("/health/readiness", other),
    }
    let offered = match models(client, endpoint, token, deadline).await {
        Ok(offered) => offered,
        Err(health) => return health,
    };
    let offered: BTreeSet<&str> = offered.iter().map(String::as_str).collect();
    let intended: BTreeSet<&str> = intended.iter().map(String::as_str).collect();
    let differences = [("missing", &intended - &offered), ("surplus", &offered - &intended)];
    let told: Vec<String> = differences
        .into_iter()
        .filter(|(_, models)| !models.is_empty())
        .map(|(word, models)| format!("{word} `{}`", models.into_iter().collect::<Vec<_>>().join("`, `")))
        .collect();
    if told.is_empty() {
        Health::Healthy
    } else {
        Health::unhealthy(format!("the models it offers are not those asked for: {}", told.join("; ")))
    }
}

/// How many tokens an answer may have. A model that thinks first needs more than it says, and one that does not ends by
/// itself.
const MOST: u32 = 512;

/// How many words more a text may have that has no end of its own.
const FEW: u32 = 8;

/// Why a request for a model failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be sent, or nothing came back.
    #[error("a request for `{model}` failed")]
    Recovered {
        /// The model.
        model: String,
        /// What went wrong.
        source: http::Error,
    },
    /// The answer is an error.
    #[error("a request for `{model}` was answered with {status}: {message}")]
    Refused {
        /// The model.
        model: String,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Another model answered.
    #[error("a request for `{model}` was answered by `{by}`")]
    Elsewhere {
        /// The model.
        model: String,
        /// Who answered.
        by: String,
    },
}

impl Hint for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Recovered { source, .. } => source.retry(),
            Self::Refused { status: 408 | 429 | 500.., .. } => Retry::Soon,
            Self::Refused { .. } | Self::Elsewhere { .. } => Retry::Never,
        }
    }
}

/// Has a gateway answer one request for `model`, not from its cache and not by a fallback, within `deadline`. This runs
/// the model.
pub async fn request(
    client: &Client,
    gateway: Proven<'_>,
    model: &str,
    mode: Mode,
    token: Option<&str>,
    deadline: Duration,
) -> Result<(), Error> {
    let (path, mut body) = match mode {
        Mode::Chat => {
            let messages = json!([{ "role": "user", "content": "Say yes." }]);
            ("/v1/chat/completions", json!({ "messages": messages, "max_tokens": MOST }))
        }
        Mode::Completion => ("/v1/completions", json!({ "prompt": "Yes,", "max_tokens": FEW })),
        Mode::Embedding => ("/v1/embeddings", json!({ "input": "Yes." })),
    };
    body["model"] = model.into();
    body["cache"] = json!({ "no-cache": true, "no-store": true });
    body["disable_fallbacks"] = true.into();
    let model = || model.to_owned();
    let url = at(gateway.probe().endpoint().unwrap_or_default(), path);
    let answered = async {
        let mut incoming = client.send(Method::Post, &url, token, Some(&body), deadline).await?;
        Ok((incoming.rest().await?, incoming))
    };
    let late = |_| http::Error::Deadline { url: http::shown(&url), deadline };
    let answered = tokio::time::timeout(deadline, answered).await.map_err(late).flatten();
    let (text, incoming) = answered.map_err(|source| Error::Recovered { model: model(), source })?;
    let status = incoming.status();
    if !(200..300).contains(&status) {
        let text = text.unwrap_or_default();
        return Err(Error::Refused { model: model(), status, message: message(&String::from_utf8_lossy(&text)) });
    }
    // The group that won, whatever was asked for.
    match incoming.header("x-litellm-model-group").filter(|by| *by != model()) {
        Some(by) => Err(Error::Elsewhere { model: model(), by: by.to_owned() }),
        None => Ok(()),
    }
}
