//! Errors of Ollama and of model registries.

use crate::resource::{Digest, OllamaName};
use crate::systems::{Hint, Retry, http};
use std::time::Duration;

/// A failure of a request to Ollama or to a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model does not exist.
    #[error("{url} has no model `{name}`")]
    NotFound {
        /// The address of the request.
        url: String,
        /// The model.
        name: OllamaName,
    },
    /// Ollama rejects the request's host name.
    #[error("{url} denies access (status 403)")]
    HostDenied {
        /// The address.
        url: String,
    },
    /// The server or the registry denies access to the model.
    #[error("{url} denies access (status {status})")]
    Denied {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server asks to retry later, or is unhealthy.
    #[error("{url} is busy (status {status}): {message}")]
    Busy {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// The server's message.
        message: String,
        /// The delay that the server asks for.
        after: Option<Duration>,
    },
    /// The server answers with an unexpected status.
    #[error("{url} answers with status {status}: {message}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// The server's message.
        message: String,
    },
    /// The server answers successfully, but with unexpected content.
    #[error("{url} did not return {expected}")]
    Strange {
        /// The address.
        url: String,
        /// The expected content.
        expected: &'static str,
    },
    /// Ollama reported a failure after its answer had begun.
    #[error("Ollama cannot {doing} `{name}`: {message}")]
    Failed {
        /// The operation, as a verb.
        doing: &'static str,
        /// The model.
        name: OllamaName,
        /// Ollama's message.
        message: String,
        /// The kind of failure that the message stands for.
        fault: Fault,
    },
    /// Ollama reports no further progress.
    #[error("Ollama made no progress with `{name}` for {} s", waited.as_secs_f32())]
    Stalled {
        /// The model.
        name: OllamaName,
        /// The time waited.
        waited: Duration,
    },
    /// The answer ended before Ollama reported success.
    #[error("Ollama closed the stream before it could {doing} `{name}`")]
    Cut {
        /// The operation, as a verb.
        doing: &'static str,
        /// The model.
        name: OllamaName,
    },
    /// The digest in the registry's headers does not match the content.
    #[error("{url} declares sha256:{expected}, but sends sha256:{live}")]
    Checksum {
        /// The address.
        url: String,
        /// The declared digest.
        expected: Digest,
        /// The digest of the content.
        live: Digest,
    },
    /// Ollama was asked to unload the model and still has it loaded.
    #[error("Ollama still has `{name}` loaded after {} s", waited.as_secs_f32())]
    StillLoaded {
        /// The model.
        name: OllamaName,
        /// The time waited.
        waited: Duration,
    },
    /// The server or the connection failed.
    #[error("cannot query {url}")]
    Network {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: http::Error,
    },
    /// The operation was cancelled; the layers fetched so far stay for the next attempt.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// Returns what an answer of Ollama itself means: it denies by a name that it is not to be called by, and nothing else.
    pub(super) fn of_server(self) -> Self {
        match self {
            Self::Denied { url, status: 403 } => Self::HostDenied { url },
            other => other,
        }
    }
}

/// The kinds of failure that Ollama's messages stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The registry has no such model.
    Unknown,
    /// The registry denies access to it.
    Denied,
    /// Ollama's disk is full.
    Full,
    /// The received bytes do not match the registry's digest; Ollama has discarded them.
    Mismatch,
    /// The name requires plain HTTP, but the request did not allow it.
    Insecure,
    /// The registry or the connection to it failed temporarily.
    Transient,
    /// Anything else.
    Other,
}

impl Fault {
    /// Classifies a message: Ollama has no codes for failures after its answer has begun.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        // A registry's status precedes its message: `pull model manifest: 429: …`.
        let status = message.split(": ").find_map(|word| word.parse::<u16>().ok().filter(|s| (400..600).contains(s)));
        match status {
            _ if says(&["no space left", "disk quota exceeded", "not enough space"]) => Self::Full,
            _ if says(&["digest mismatch"]) => Self::Mismatch,
            _ if says(&["insecure protocol", "http response to https client"]) => Self::Insecure,
            Some(401 | 403) => Self::Denied,
            Some(404) => Self::Unknown,
            Some(408 | 429 | 500..) => Self::Transient,
            Some(_) => Self::Other,
            None if says(&["file does not exist"]) => Self::Unknown,
            None if says(&["unauthorized", "access denied", "status code 401", "status code 403"]) => Self::Denied,
            None if says(&TRANSIENT) => Self::Transient,
            None => Self::Other,
        }
    }
}

/// Go's messages for connections that failed.
const TRANSIENT: [&str; 12] = [
    "max retries exceeded",
    "eof",
    "connection re",
    "broken pipe",
    "timeout",
    "deadline exceeded",
    "no such host",
    "dial tcp",
    "network is unreachable",
    "no route to host",
    "part stalled",
    "unexpected status code 5",
];

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } | Self::Failed { fault: Fault::Unknown, .. } => {
                "check the model's name and tag; a private registry belongs in the name, as `host/namespace/model:tag`"
                    .into()
            }
            Self::HostDenied { .. } => {
                "Ollama on loopback answers only to an IP address, `localhost` or the machine's own name: use one of them as the endpoint"
                    .into()
            }
            Self::Denied { .. } | Self::Failed { fault: Fault::Denied, .. } => {
                "check the model's name; a private model needs Ollama's own key (`~/.ollama/id_ed25519.pub`) at its registry"
                    .into()
            }
            Self::Failed { fault: Fault::Full, .. } => {
                "free some space where Ollama keeps its models; the next attempt resumes where this one ended".into()
            }
            Self::Failed { fault: Fault::Mismatch, .. } | Self::Checksum { .. } => {
                "the registry or a proxy altered the content; the next attempt fetches it again".into()
            }
            Self::Failed { fault: Fault::Insecure, .. } => "set `insecure: true` for a registry on plain HTTP".into(),
            Self::StillLoaded { .. } => "a request to the model is still running; the model unloads when it ends".into(),
            Self::Network { source, .. } => return source.hint(),
            _ => return None,
        })
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::Stalled { .. } | Self::Cut { .. } | Self::StillLoaded { .. } => Retry::Soon,
            Self::Failed { fault: Fault::Transient, .. } | Self::Cancelled => Retry::Soon,
            Self::Network { source, .. } => source.retry(),
            _ => Retry::of_causes(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn ollamas_messages_are_classified() {
        for (words, fault) in [
            ("pull model manifest: file does not exist", Fault::Unknown),
            ("pull model manifest: 404: {\"errors\":[]}", Fault::Unknown),
            ("pull model manifest: 429: slow down", Fault::Transient),
            ("pull model manifest: 503: ", Fault::Transient),
            ("pull model manifest: 401: denied", Fault::Denied),
            ("unauthorized: access denied", Fault::Denied),
            ("pull model manifest: 400: bad", Fault::Other),
            ("insecure protocol http", Fault::Insecure),
            ("Get \"https://127.0.0.1:5/v2/\": http: server gave HTTP response to HTTPS client", Fault::Insecure),
            ("write /m/blobs/sha256-1-partial: no space left on device", Fault::Full),
            ("max retries exceeded: write: no space left on device", Fault::Full),
            ("digest mismatch, file must be downloaded again: want sha256:1, got sha256:2", Fault::Mismatch),
            ("max retries exceeded: unexpected EOF", Fault::Transient),
            ("Get \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused", Fault::Transient),
            ("Get \"https://h/v2/\": net/http: TLS handshake timeout", Fault::Transient),
            ("open /models/blobs: permission denied", Fault::Other),
        ] {
            assert_eq!(Fault::of(words), fault, "{words}");
        }
    }
}
