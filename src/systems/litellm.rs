//! The `LiteLLM` proxy: whether it serves exactly the models that it was given.
//!
//! `/health` is never asked: it runs a completion on every deployment, and so loads every model.

use super::http::{Answer, Client};
use super::openai::{at, models, not_ok};
use crate::resource::Health;
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
