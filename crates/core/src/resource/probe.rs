//! Health questions as plain data: what to ask a server, and what its answers mean. Engines write them, and one
//! executor asks them.

use super::secret::SecretReference;
use super::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bearer token that a question carries, by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authorization(pub SecretReference);

/// The question that a server must answer to count as healthy. None of them loads a model or runs a completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "probe")]
pub enum Probe {
    /// Nothing is asked: to be running is to be healthy.
    Running,
    /// Questions over HTTP.
    Http(HttpProbe),
    /// `PING` over the protocol of Redis, and settings that must be in force.
    Resp(RespProbe),
}

/// Questions over HTTP: each check in its turn, then the models that the server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// The server's address without a path.
    pub endpoint: String,
    /// The paths that must answer, in this order. They carry no token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HttpCheck>,
    /// The models that the server must offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<OfferedModels>,
    /// The token that the list of models is asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
}

/// `GET` of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// The path, with its slash.
    pub path: String,
    /// The answers that count as success.
    #[serde(default)]
    pub accepts: Accepts,
    /// The key that the JSON object of the answer must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The meaning of particular answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meanings: Vec<Meaning>,
}

/// The statuses that count as success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepts {
    /// From 200 to 299.
    #[default]
    Success,
    /// Every status below 400.
    NoError,
}

/// The meaning of an answer that is not plain success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meaning {
    /// The answer.
    pub on: AnswerKind,
    /// Text that its body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// True if the server is still loading; otherwise it is unhealthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loading: bool,
    /// The sentence for users.
    pub why: String,
    /// True if the message in the answer's body follows the sentence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quotes: bool,
}

impl Meaning {
    /// Returns the meaning of an answer from a server that is unhealthy.
    #[must_use]
    pub fn unhealthy(on: AnswerKind, why: impl Into<String>) -> Self {
        Self { on, contains: None, loading: false, why: why.into(), quotes: false }
    }

    /// Returns the meaning of an answer from a server that is still loading.
    #[must_use]
    pub fn loading(on: AnswerKind, why: impl Into<String>) -> Self {
        Self { loading: true, ..Self::unhealthy(on, why) }
    }

    /// Returns the same for answers only whose body contains a text.
    #[must_use]
    pub fn where_body_contains(self, text: impl Into<String>) -> Self {
        Self { contains: Some(text.into()), ..self }
    }

    /// Returns the same followed by the message in the answer's body.
    #[must_use]
    pub fn with_message(self) -> Self {
        Self { quotes: true, ..self }
    }
}

/// An answer that has a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerKind {
    /// The connection was refused.
    Refused,
    /// A status.
    Status(u16),
}

/// The models that `GET /v1/models` must list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OfferedModels {
    /// Their names.
    pub names: Vec<String>,
    /// True if the server must offer no others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exactly: bool,
    /// The meaning of particular answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meanings: Vec<Meaning>,
}

/// `PING` on a loopback port, and `CONFIG GET` of settings that must be in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RespProbe {
    /// The port.
    pub port: u16,
    /// Sizes by the names of their settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, Bytes>,
}

impl HttpProbe {
    /// Returns the probe of a server at `endpoint` that must answer `path` with success and offer `model`.
    #[must_use]
    pub fn of_model(endpoint: String, path: &str, meanings: Vec<Meaning>, model: &str) -> Self {
        let check = HttpCheck { meanings, ..HttpCheck::of(path) };
        let models = OfferedModels { names: vec![model.to_owned()], ..OfferedModels::default() };
        Self { endpoint, checks: vec![check], models: Some(models), authorization: None }
    }
}

impl HttpCheck {
    /// Returns the check that a path answers with success.
    #[must_use]
    pub fn of(path: impl Into<String>) -> Self {
        Self { path: path.into(), accepts: Accepts::Success, key: None, meanings: Vec::new() }
    }
}

impl Probe {
    /// Returns the address of the server that is asked, without a path, where the question is an HTTP request.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        let Self::Http(probe) = self else { return None };
        let endpoint = probe.endpoint.as_str();
        let begin = endpoint.find("://").map_or(0, |at| at + 3);
        let end = endpoint[begin..].find('/').map_or(endpoint.len(), |at| begin + at);
        Some(&endpoint[..end])
    }

    /// Returns the port of 127.0.0.1 that is asked; `None` where nothing is, or something elsewhere.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Resp(probe) => Some(probe.port),
            _ => self.endpoint()?.strip_prefix("http://127.0.0.1:")?.parse().ok(),
        }
    }

    /// Returns the token that the question carries, if it carries one.
    #[must_use]
    pub const fn authorization(&self) -> Option<&Authorization> {
        if let Self::Http(probe) = self { probe.authorization.as_ref() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpProbe, Probe, RespProbe};

    #[test]
    fn the_probed_port_is_known() {
        let http = |endpoint: &str| {
            let endpoint = endpoint.to_owned();
            Probe::Http(HttpProbe { endpoint, checks: Vec::new(), models: None, authorization: None })
        };
        for (probe, endpoint, port) in [
            (http("http://127.0.0.1:8000/a:1/b"), Some("http://127.0.0.1:8000"), Some(8000)),
            (http("http://127.0.0.1:8000"), Some("http://127.0.0.1:8000"), Some(8000)),
            (http("http://127.0.0.1.example:80/"), Some("http://127.0.0.1.example:80"), None),
            (http("http://127.0.0.1:1@example:80/"), Some("http://127.0.0.1:1@example:80"), None),
            (http("http://localhost:80/"), Some("http://localhost:80"), None),
            (Probe::Resp(RespProbe { port: 6379, sizes: [].into() }), None, Some(6379)),
            (Probe::Running, None, None),
        ] {
            assert_eq!((probe.endpoint(), probe.port()), (endpoint, port), "{probe:?}");
        }
    }
}
