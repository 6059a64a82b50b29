//! Servers that speak the `OpenAI` protocol: which models they offer.
//!
//! Nothing here runs a completion.

use super::http::{Answer, Client};
use crate::resource::Health;
use serde_json::Value;
use std::time::Duration;

/// Returns the ids that `endpoint/v1/models` lists, or what is wrong with its answer.
pub(super) async fn models(
    client: &Client,
    endpoint: &str,
    token: Option<&str>,
    deadline: Duration,
) -> Result<Vec<String>, Health> {
    let body = match client.get(&at(endpoint, "/v1/models"), token, deadline).await {
        Answer::Ok(body) => body,
        // LiteLLM without a database answers a key that it does not know with 400.
        Answer::Status(status @ (400 | 401 | 403), body) if status != 400 || body.contains("No connected db") => {
            return Err(Health::unhealthy(format!("the key is not accepted ({status} from /v1/models)")));
        }
        other => return Err(not_ok("/v1/models", other)),
    };
    let answer: Option<Value> = serde_json::from_str(&body).ok();
    // Ollama lists no models as `null`.
    let ids = answer.as_ref().and_then(|answer| answer.get("data")).and_then(|data| match data {
        Value::Null => Some(vec![]),
        Value::Array(models) => models.iter().map(|model| Some(model.get("id")?.as_str()?.to_owned())).collect(),
        _ => None,
    });
    ids.ok_or_else(|| Health::unhealthy(format!("/v1/models answers with something else than models: {}", line(&body))))
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
