//! Asks servers how they fare, each in its own language. A question never loads a model and never runs a completion.

mod redis;

use super::http::{Answer, Client};
use super::secrets::{self, Secret};
use crate::resource::{Health, Probe};
use serde_json::Value;
use std::collections::BTreeSet;

/// Asks a server its probe's question once.
pub async fn ask(client: &Client, probe: &Probe) -> Health {
    let token = match probe.authorization().map(|authorization| secrets::resolve(&authorization.0)) {
        Some(Err(error)) => return Health::Unhealthy { why: error.to_string() },
        Some(Ok(token)) => Some(token),
        None => None,
    };
    match probe {
        Probe::Running => Health::Healthy,
        Probe::Http { url } => http(client, url).await,
        Probe::LlamaCpp { endpoint, model } => llama_cpp(client, endpoint, model).await,
        Probe::Litellm { endpoint, models, .. } => litellm(client, endpoint, models, token.as_ref()).await,
        Probe::Redis { port, maxmemory } => redis::ask(*port, *maxmemory).await,
    }
}

/// Returns what to make of an answer that is not the one hoped for.
fn otherwise(what: &str, answer: Answer) -> Health {
    match answer {
        Answer::Status(status, text) => {
            let text: String = text.chars().take(200).collect();
            Health::Unhealthy { why: format!("{what} answers {status} {}", text.trim()).trim_end().to_owned() }
        }
        Answer::Refused => Health::Unreachable { why: "nobody listens on its port yet".to_owned() },
        Answer::Deadline => Health::Unreachable { why: format!("{what} does not answer in time") },
        Answer::Broken(why) => Health::Unreachable { why },
    }
}

async fn http(client: &Client, url: &str) -> Health {
    match client.ask(url, None).await {
        Answer::Status(status, _) if status < 400 => Health::Healthy,
        Answer::Status(503, _) => Health::Loading { why: format!("{url} answers 503") },
        answer => otherwise(url, answer),
    }
}

/// llama.cpp listens before it loads, and answers 503 with `Loading model` until it has.
async fn llama_cpp(client: &Client, endpoint: &str, model: &str) -> Health {
    match client.ask(&format!("{endpoint}/health"), None).await {
        Answer::Status(200, _) => {}
        Answer::Status(503, text) => {
            let message = serde_json::from_str::<Value>(&text).ok();
            let message = message.and_then(|value| Some(value.get("error")?.get("message")?.as_str()?.to_owned()));
            return Health::Loading { why: message.unwrap_or_else(|| "it is loading".to_owned()) };
        }
        answer => return otherwise("/health", answer),
    }
    match client.ask(&format!("{endpoint}/v1/models"), None).await {
        Answer::Status(200, text) => {
            let offered = models(&text);
            if offered.contains(model) {
                return Health::Healthy;
            }
            Health::Unhealthy { why: format!("it offers {} and not {model}", listed(&offered)) }
        }
        answer => otherwise("/v1/models", answer),
    }
}

/// `LiteLLM` is ready before it has looked at its models, and drops those that it cannot use without a word: it must
/// offer exactly those intended. Its `/health` would send a completion to each, so it is never asked.
async fn litellm(client: &Client, endpoint: &str, intended: &[String], token: Option<&Secret>) -> Health {
    match client.ask(&format!("{endpoint}/health/readiness"), None).await {
        Answer::Status(200, _) => {}
        Answer::Status(503, text) => return Health::Loading { why: text.chars().take(200).collect() },
        answer => return otherwise("/health/readiness", answer),
    }
    match client.ask(&format!("{endpoint}/v1/models"), token).await {
        Answer::Status(200, text) => {
            let offered = models(&text);
            let intended: BTreeSet<String> = intended.iter().cloned().collect();
            if offered == intended {
                return Health::Healthy;
            }
            let missing: BTreeSet<String> = intended.difference(&offered).cloned().collect();
            let surplus: BTreeSet<String> = offered.difference(&intended).cloned().collect();
            let mut parts = Vec::new();
            if !missing.is_empty() {
                parts.push(format!("does not offer {}", listed(&missing)));
            }
            if !surplus.is_empty() {
                parts.push(format!("offers {}, which it should not", listed(&surplus)));
            }
            Health::Unhealthy { why: format!("it {}", parts.join(" and ")) }
        }
        // Without a database LiteLLM looks for an unknown key there, and says that it has none.
        Answer::Status(400 | 401 | 403, _) => Health::Unhealthy { why: "it refuses the master key".to_owned() },
        answer => otherwise("/v1/models", answer),
    }
}

/// Reads the ids of a list of models as `OpenAI` gives it.
fn models(text: &str) -> BTreeSet<String> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let entries = value.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
    entries.iter().filter_map(|entry| Some(entry.get("id")?.as_str()?.to_owned())).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "no model".to_owned();
    }
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}
