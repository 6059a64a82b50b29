//! llama.cpp's `llama-server`: whether it has loaded its model.

use super::http::{Answer, Client};
use super::openai::{at, message, models, not_ok};
use crate::resource::Health;
use std::time::Duration;

/// Asks whether the server at `endpoint` has loaded and offers `model`.
pub(super) async fn ask(client: &Client, endpoint: &str, model: &str, deadline: Duration) -> Health {
    match client.get(&at(endpoint, "/health"), None, deadline).await {
        Answer::Ok(_) => {}
        // The socket is open before the model is there; until then every path answers 503.
        Answer::Status(503, body) if message(&body).contains("Loading model") => {
            return Health::loading("the model is loading");
        }
        other => return not_ok("/health", other),
    }
    match models(client, endpoint, None, deadline).await {
        Ok(offered) if offered.iter().any(|id| id == model) => Health::Healthy,
        Ok(offered) => Health::unhealthy(format!("it offers `{}` and not `{model}`", offered.join("`, `"))),
        Err(health) => health,
    }
}
