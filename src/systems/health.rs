//! Asks a server once whether it is healthy. When to ask again, and for how long, is decided elsewhere.

use super::http::{Answer, Client};
use super::listener::{Proven, Unproven};
use super::openai::{at, message, not_ok};
use super::{openai, resp};
use crate::resource::{Accepts, AnswerKind, Health, HttpCheck, HttpProbe, Meaning, OfferedModels, Probe};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest that one question takes, whatever the server does.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Returns the health of a server without a listener at the address of `probe`.
fn silent(probe: &Probe) -> Health {
    let checks = if let Probe::Http(probe) = probe { probe.checks.as_slice() } else { &[] };
    let meanings = checks.first().map(|check| check.meanings.as_slice()).unwrap_or_default();
    let meant = meant(meanings, &Answer::Refused).err();
    meant.unwrap_or_else(|| Health::unreachable("connection refused"))
}

impl Unproven {
    /// Returns the health of the server that was to be probed.
    #[must_use]
    pub fn health(&self, probe: &Probe) -> Health {
        match self {
            Self::NoListener => silent(probe),
            Self::Foreign(foreign) => Health::unhealthy(foreign.to_string()),
            Self::Unknown(why) => Health::unhealthy(format!("the listener on its port cannot be identified: {why}")),
        }
    }
}

/// Asks a server once what is proven to reach it. `token` is the value behind the probe's authorization.
pub async fn ask(client: &Client, proven: Proven<'_>, token: Option<&str>) -> Health {
    let asked = async {
        match proven.probe() {
            Probe::Running => Health::Healthy,
            Probe::Http(probe) => ask_http(client, probe, token).await.err().unwrap_or(Health::Healthy),
            Probe::Resp(probe) => resp::ask(probe).await,
        }
    };
    let late = |_| Health::unreachable(format!("no answer within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(late)
}

/// Asks every question of a probe in its turn; fails with the first bad answer.
async fn ask_http(client: &Client, probe: &HttpProbe, token: Option<&str>) -> Result<(), Health> {
    for check in &probe.checks {
        let answer = client.get(&at(&probe.endpoint, &check.path), None, DEADLINE).await;
        judge(check, answer)?;
    }
    let Some(declared) = &probe.models else { return Ok(()) };
    let answer = client.get(&at(&probe.endpoint, openai::MODELS), token, DEADLINE).await;
    meant(&declared.meanings, &answer)?;
    let offered = openai::models(answer)?;
    compare(declared, &offered)
}

fn judge(check: &HttpCheck, answer: Answer) -> Result<(), Health> {
    meant(&check.meanings, &answer)?;
    let body = match answer {
        Answer::Ok(body) => body,
        Answer::Status(status, body) if check.accepts == Accepts::NoError && status < 400 => body,
        other => return Err(not_ok(&check.path, other)),
    };
    let Some(key) = &check.key else { return Ok(()) };
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    if answer.get(key).is_some() {
        return Ok(());
    }
    Err(Health::unhealthy(format!("{} answers without `{key}`: {}", check.path, message(&body))))
}

/// Fails with the first meaning that fits an answer.
fn meant(meanings: &[Meaning], answer: &Answer) -> Result<(), Health> {
    let (kind, body) = match answer {
        Answer::Refused => (AnswerKind::Refused, ""),
        Answer::Status(status, body) => (AnswerKind::Status(*status), body.as_str()),
        Answer::Ok(_) | Answer::Deadline | Answer::Broken(_) => return Ok(()),
    };
    let quoted = message(body);
    let fits = |meaning: &&Meaning| {
        meaning.on == kind && meaning.contains.as_ref().is_none_or(|text| body.contains(text.as_str()))
    };
    let Some(meaning) = meanings.iter().find(fits) else { return Ok(()) };
    let why = if meaning.quotes { format!("{}: {quoted}", meaning.why) } else { meaning.why.clone() };
    Err(if meaning.loading { Health::loading(why) } else { Health::unhealthy(why) })
}

/// Compares the models that a server offers with those that it must offer.
fn compare(declared: &OfferedModels, offered: &[String]) -> Result<(), Health> {
    let declared_names: BTreeSet<&str> = declared.names.iter().map(String::as_str).collect();
    let offered_names: BTreeSet<&str> = offered.iter().map(String::as_str).collect();
    let missing = &declared_names - &offered_names;
    if !declared.exactly {
        return match missing.first() {
            None => Ok(()),
            Some(model) => Err(Health::unhealthy(format!("it offers `{}` and not `{model}`", offered.join("`, `")))),
        };
    }
    let differences: Vec<String> = [("missing", missing), ("surplus", &offered_names - &declared_names)]
        .into_iter()
        .filter(|(_, models)| !models.is_empty())
        .map(|(word, models)| format!("{word} `{}`", models.into_iter().collect::<Vec<_>>().join("`, `")))
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(Health::unhealthy(format!("the models it offers are not those asked for: {}", differences.join("; "))))
}
