//! The `OpenAI` protocol: the models that a server offers, and one request for a model.

use super::http::{self, Answer, Client, Command, Method};
use super::listener::Proven;
use super::{Hint, Retry};
use crate::manifest::Mode;
use crate::resource::{GatewayApi, Health};
use serde_json::{Value, json};
use std::time::Duration;

/// The path that lists models.
pub(super) const MODELS: &str = "/v1/models";

/// Returns the ids that an answer of [`MODELS`] lists, or what is wrong with it.
pub(super) fn models(answer: Answer) -> Result<Vec<String>, Health> {
    let body = match answer {
        Answer::Ok(body) => body,
        Answer::Status(status @ (401 | 403), _) => {
            return Err(Health::unhealthy(format!("the key is not accepted ({status} from {MODELS})")));
        }
        other => return Err(not_ok(MODELS, other)),
    };
    let answer: Option<Value> = serde_json::from_str(&body).ok();
    // Ollama lists no models as `null`.
    let ids = answer.as_ref().and_then(|answer| answer.get("data")).and_then(|data| match data {
        Value::Null => Some(vec![]),
        Value::Array(models) => models.iter().map(|model| Some(model.get("id")?.as_str()?.to_owned())).collect(),
        _ => None,
    });
    ids.ok_or_else(|| Health::unhealthy(format!("{MODELS} answers with something else than models: {}", line(&body))))
}

/// Returns `path` on the server at `endpoint`.
pub(super) fn at(endpoint: &str, path: &str) -> String {
    format!("{}{path}", endpoint.trim_end_matches('/'))
}

/// Returns what an answer other than success means for a server of which nothing more is known.
pub(super) fn not_ok(path: &str, answer: Answer) -> Health {
    match answer {
        Answer::Ok(_) => Health::Healthy,
        Answer::Status(status, body) => Health::unhealthy(format!("{path} answers {status}: {}", message(&body))),
        Answer::Refused => Health::unreachable("connection refused"),
        Answer::Deadline => Health::unreachable(format!("no answer from {path} in time")),
        Answer::Broken(why) => Health::unreachable(line(&why)),
    }
}

/// Returns the message inside an error body, or the body itself, as one short line.
pub(super) fn message(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&Value::Null);
    let known = [error.get("message"), Some(error), value.get("detail"), value.get("status")];
    line(known.into_iter().flatten().find_map(Value::as_str).unwrap_or(body))
}

fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words.join(" ").chars().take(160).collect();
    if text.is_empty() { "(nothing)".to_owned() } else { text }
}

/// The most tokens of an answer. A model that thinks first needs more than it prints, and one that does not ends by
/// itself.
const MOST: u32 = 512;

/// The most further words of a text without an end of its own.
const FEW: u32 = 8;

/// A failed request for a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be sent, or nothing came back.
    #[error("a request for `{model}` failed")]
    Lost {
        /// The model.
        model: String,
        /// The cause.
        source: http::Error,
    },
    /// The answer is an error.
    #[error("a request for `{model}` was answered with {status}: {message}")]
    Refused {
        /// The model.
        model: String,
        /// The status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// Another model answered.
    #[error("a request for `{model}` was answered by `{by}`")]
    Elsewhere {
        /// The model.
        model: String,
        /// The server that answered.
        by: String,
    },
}

impl Hint for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Lost { source, .. } => source.retry(),
            Self::Refused { status: 408 | 429 | 500.., .. } => Retry::Soon,
            Self::Refused { .. } | Self::Elsewhere { .. } => Retry::Never,
        }
    }
}

/// A request for one model, with the fields by which only the model itself can answer.
#[derive(Debug, Clone, Copy)]
pub struct ModelRequest<'a> {
    /// The gateway's own fields, and the header that names the model that answered.
    pub api: &'a GatewayApi,
    /// The model.
    pub model: &'a str,
    /// The kind of the request.
    pub mode: Mode,
    /// The gateway's key.
    pub token: Option<&'a str>,
}

impl ModelRequest<'_> {
    /// Returns its path and its body.
    fn content(&self) -> (&'static str, Value) {
        let (path, mut body) = match self.mode {
            Mode::Chat => {
                let messages = json!([{ "role": "user", "content": "Say yes." }]);
                ("/v1/chat/completions", json!({ "messages": messages, "max_tokens": MOST }))
            }
            Mode::Completion => ("/v1/completions", json!({ "prompt": "Yes,", "max_tokens": FEW })),
            Mode::Embedding => ("/v1/embeddings", json!({ "input": "Yes." })),
        };
        body["model"] = self.model.into();
        for (key, value) in &self.api.fields {
            body[key] = value.clone();
        }
        (path, body)
    }
}

/// Has a gateway answer a request within `deadline`. This runs the model.
pub async fn request(
    client: &Client,
    gateway: Proven<'_>,
    request: &ModelRequest<'_>,
    deadline: Duration,
) -> Result<(), Error> {
    let (path, body) = request.content();
    let model = || request.model.to_owned();
    let url = at(gateway.probe().endpoint().unwrap_or_default(), path);
    let answered = async {
        let command = Command { method: Method::Post, url: &url, token: request.token, body: Some(&body) };
        let mut incoming = client.send(command, deadline).await?;
        Ok((incoming.rest().await?, incoming))
    };
    let late = |_| http::Error::Deadline { url: http::shown(&url), deadline };
    let answered = tokio::time::timeout(deadline, answered).await.map_err(late).flatten();
    let (text, incoming) = answered.map_err(|source| Error::Lost { model: model(), source })?;
    let status = incoming.status();
    if !(200..300).contains(&status) {
        let text = text.unwrap_or_default();
        return Err(Error::Refused { model: model(), status, message: message(&String::from_utf8_lossy(&text)) });
    }
    match incoming.header(&request.api.answered_by).filter(|by| *by != model()) {
        Some(by) => Err(Error::Elsewhere { model: model(), by: by.to_owned() }),
        None => Ok(()),
    }
}
