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
    /// Returns the token that the question carries, if it carries one.
    #[must_use]
    pub const fn authorization(&self) -> Option<&Authorization> {
        if let Self::Litellm { authorization, .. } = self { Some(authorization) } else { None }
    }
}
