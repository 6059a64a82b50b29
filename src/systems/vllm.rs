//! vLLM: whether it has loaded its model and its engine lives.

use super::http::{Answer, Client};
use super::openai::{at, models, not_ok};
use crate::resource::Health;
use std::time::Duration;

/// Asks whether the server at `endpoint` has loaded and offers `model`.
pub(super) async fn ask(client: &Client, endpoint: &str, model: &str, deadline: Duration) -> Health {
    match client.get(&at(endpoint, "/health"), None, deadline).await {
        Answer::Ok(_) => {}
        // It listens when the model is there and not before: whether it loads or is dead, its process tells.
        Answer::Refused => return Health::loading("it does not listen before the model is there"),
        Answer::Status(503, _) => return Health::unhealthy("its engine is dead"),
        other => return not_ok("/health", other),
    }
    match models(client, endpoint, None, deadline).await {
        Ok(offered) if offered.iter().any(|id| id == model) => Health::Healthy,
        Ok(offered) => Health::unhealthy(format!("it offers `{}` and not `{model}`", offered.join("`, `"))),
        Err(health) => health,
    }
}
