//! Asks a server that others run whether it answers, once and as cheaply as possible.

use super::http::{Answer, Client};
use super::openai::message;
use super::secrets::{self, Secret};
use super::{Hint, resp, with_causes};
use crate::resource::{Authorization, ExternalQuestion, Health};
use std::time::Duration;

/// The longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks a question and returns the health of the server.
pub async fn ask(client: &Client, question: &ExternalQuestion) -> Health {
    match question {
        ExternalQuestion::Http { url, authorization } => match resolved(authorization.as_ref()) {
            Ok(key) => judge(client.get(url, key.as_ref().map(Secret::reveal), DEADLINE).await),
            Err(health) => health,
        },
        ExternalQuestion::Redis { host, port, tls, password } => {
            let password = match resolved(password.as_ref()) {
                Ok(password) => password,
                Err(health) => return health,
            };
            let asked = resp::ping(host, *port, *tls, password.as_ref().map(Secret::reveal));
            let late = |_| Health::unreachable(format!("no answer within {} s", DEADLINE.as_secs()));
            tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(late)
        }
    }
}

fn resolved(authorization: Option<&Authorization>) -> Result<Option<Secret>, Health> {
    let resolved = authorization.map(|authorization| secrets::resolve(&authorization.0)).transpose();
    resolved.map_err(|error| Health::NotAsked { why: with_causes(&error), hint: error.hint() })
}

/// Returns what an answer shows. Not every server lists its models: to refuse that politely is to answer.
fn judge(answer: Answer) -> Health {
    match answer {
        Answer::Status(status @ (401 | 403), body) => {
            Health::unhealthy(format!("it does not accept the key ({status}): {}", message(&body)))
        }
        Answer::Status(status @ 500.., body) => Health::unhealthy(format!("it answers {status}: {}", message(&body))),
        Answer::Ok(_) | Answer::Status(..) => Health::Healthy,
        Answer::Refused => Health::unreachable("connection refused"),
        Answer::Deadline => Health::unreachable(format!("no answer within {} s", DEADLINE.as_secs())),
        Answer::Broken(why) => Health::unreachable(why.split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}
