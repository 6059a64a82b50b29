//! How a server shows that it is healthy: the question, as plain data. Who asks it lives below the line.

use super::secret::SecretReference;
use super::units::Bytes;
use serde::{Deserialize, Serialize};

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
    /// `GET url` answers with a status below 400.
    Http {
        /// The full address.
        url: String,
    },
    /// llama.cpp: `/health` answers 200 (503 means that it loads), and `/v1/models` offers the model.
    LlamaCpp {
        /// The server's address without a path.
        endpoint: String,
        /// The name that it must offer.
        model: String,
    },
    /// `LiteLLM`: `/health/readiness` answers 200, and `/v1/models` offers exactly these models.
    Litellm {
        /// The gateway's address without a path.
        endpoint: String,
        /// Every model name that it must offer, and no other.
        models: Vec<String>,
        /// The master key.
        authorization: Authorization,
    },
    /// Ollama: `/api/version` and `/api/tags` answer; no model is loaded for that.
    Ollama {
        /// The server's address without a path.
        endpoint: String,
    },
    /// vLLM: `/health` answers 200 (it listens once its model is loaded), and `/v1/models` offers the model.
    Vllm {
        /// The server's address without a path.
        endpoint: String,
        /// The name that it must offer.
        model: String,
    },
    /// Redis: `PING` answers `PONG`, and `maxmemory` is as asked.
    Redis {
        /// The port on the loopback address.
        port: u16,
        /// The memory limit that must be in force.
        maxmemory: Option<Bytes>,
    },
}

impl Probe {
    /// Returns the address of the server that is asked, without a path, where the question is an HTTP request.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Running | Self::Redis { .. } => None,
            Self::Http { url: endpoint }
            | Self::LlamaCpp { endpoint, .. }
            | Self::Litellm { endpoint, .. }
            | Self::Ollama { endpoint }
            | Self::Vllm { endpoint, .. } => {
                let begin = endpoint.find("://").map_or(0, |at| at + 3);
                let end = endpoint[begin..].find('/').map_or(endpoint.len(), |at| begin + at);
                Some(&endpoint[..end])
            }
        }
    }

    /// Returns the port of 127.0.0.1 that is asked; `None` where nothing is, or something elsewhere.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Redis { port, .. } => Some(*port),
            _ => self.endpoint()?.strip_prefix("http://127.0.0.1:")?.parse().ok(),
        }
    }

    /// Returns the token that the question carries, if it carries one.
    #[must_use]
    pub const fn authorization(&self) -> Option<&Authorization> {
        if let Self::Litellm { authorization, .. } = self { Some(authorization) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::Probe;

    #[test]
    fn the_port_that_is_asked_is_known() {
        let http = |url: &str| Probe::Http { url: url.to_owned() };
        for (probe, endpoint, port) in [
            (http("http://127.0.0.1:8000/a:1/b"), Some("http://127.0.0.1:8000"), Some(8000)),
            (http("http://127.0.0.1:8000"), Some("http://127.0.0.1:8000"), Some(8000)),
            (http("http://127.0.0.1.example:80/"), Some("http://127.0.0.1.example:80"), None),
            (http("http://127.0.0.1:1@example:80/"), Some("http://127.0.0.1:1@example:80"), None),
            (http("http://localhost:80/"), Some("http://localhost:80"), None),
            (Probe::Redis { port: 6379, maxmemory: None }, None, Some(6379)),
            (Probe::Running, None, None),
        ] {
            assert_eq!((probe.endpoint(), probe.port()), (endpoint, port), "{probe:?}");
        }
    }
}
