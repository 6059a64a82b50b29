//! Asks a server once whether it is healthy. When to ask again, and for how long, is decided elsewhere.

use super::http::{Answer, Client};
use super::listener::Proven;
use super::openai::not_ok;
use super::{litellm, llama_cpp, ollama, redis, vllm};
use crate::resource::{Health, Probe};
use std::time::Duration;

/// The longest that one question takes, whatever the server does.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Returns what it means that nobody listens where `probe` would be asked.
#[must_use]
pub fn silent(probe: &Probe) -> Health {
    match probe {
        Probe::Vllm { .. } => vllm::not_listening(),
        _ => Health::unreachable("connection refused"),
    }
}

/// Asks a server once what is proven to reach it. `token` is the value behind the probe's authorization.
pub async fn ask(client: &Client, proven: Proven<'_>, token: Option<&str>) -> Health {
    let asked = async {
        match proven.probe() {
            Probe::Running => Health::Healthy,
            Probe::Http { url } => match client.get(url, token, DEADLINE).await {
                Answer::Status(status, _) if status < 400 => Health::Healthy,
                answer => not_ok(url, answer),
            },
            Probe::LlamaCpp { endpoint, model } => llama_cpp::ask(client, endpoint, model, DEADLINE).await,
            Probe::Litellm { endpoint, models, authorization: _ } => {
                litellm::ask(client, endpoint, models, token, DEADLINE).await
            }
            Probe::Ollama { endpoint } => ollama::healthy(client, endpoint, DEADLINE).await,
            Probe::Vllm { endpoint, model } => vllm::ask(client, endpoint, model, DEADLINE).await,
            Probe::Redis { port, maxmemory } => redis::ask(*port, *maxmemory).await,
        }
    };
    let late = |_| Health::unreachable(format!("no answer within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(late)
}
