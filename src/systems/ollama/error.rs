//! Why Ollama, or a registry of models, did not do what was asked.

use crate::resource::{Digest, OllamaName};
use crate::systems::{Hint, Retry, http};
use std::time::Duration;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such model.
    #[error("{url} knows no model `{name}`")]
    NotFound {
        /// The address that was asked.
        url: String,
        /// The model.
        name: OllamaName,
    },
    /// Ollama answers no request that names it as this one does, or the registry does not let us have the model.
    #[error("{url} refuses us (status {status})")]
    Denied {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server asks to come back later, or is not well.
    #[error("{url} is busy (status {status}): {message}")]
    Busy {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
        /// How long it asks to wait.
        after: Option<Duration>,
    },
    /// The server answers with another status than it should.
    #[error("{url} answers with status {status}: {message}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The server answers well, but not with what was asked for.
    #[error("{url} answers with something else than {expected}")]
    Strange {
        /// The address.
        url: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Ollama began, and then said that it failed.
    #[error("Ollama cannot {doing} `{name}`: {message}")]
    Failed {
        /// What it was doing.
        doing: &'static str,
        /// The model.
        name: OllamaName,
        /// Its own words.
        message: String,
        /// What kind of failure the words mean.
        fault: Fault,
    },
    /// Ollama says nothing new any more.
    #[error("Ollama got no further with `{name}` for {} s", waited.as_secs_f32())]
    Stalled {
        /// The model.
        name: OllamaName,
        /// How long was waited.
        waited: Duration,
    },
    /// The answer ended before Ollama said that it had succeeded.
    #[error("Ollama broke off while it was to {doing} `{name}`")]
    Cut {
        /// What it was doing.
        doing: &'static str,
        /// The model.
        name: OllamaName,
    },
    /// The registry calls what it sends by another digest than the bytes have.
    #[error("{url} calls its answer sha256:{expected}, and it is sha256:{live}")]
    Checksum {
        /// The address.
        url: String,
        /// What the registry says.
        expected: Digest,
        /// What it sends.
        live: Digest,
    },
    /// Ollama was asked to unload the model and still holds it.
    #[error("Ollama still holds `{name}` in memory after {} s", waited.as_secs_f32())]
    StillLoaded {
        /// The model.
        name: OllamaName,
        /// How long was waited.
        waited: Duration,
    },
    /// The server or the way to it failed.
    #[error("cannot ask {url}")]
    Network {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: http::Error,
    },
    /// It was called off; what Ollama has fetched stays for the next time.
    #[error("interrupted")]
    Cancelled,
}

/// What Ollama's own words about a failure mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The registry has no such model.
    Unknown,
    /// The registry does not let Ollama have it.
    Denied,
    /// Ollama's disk is full.
    Full,
    /// What arrived is not what the registry promised; Ollama has thrown it away.
    Mismatch,
    /// The name asks for plain HTTP, and the request did not.
    Insecure,
    /// The way to the registry, or the registry itself, failed for now.
    Transient,
    /// Anything else.
    Other,
}

impl Fault {
    /// Reads Ollama's words: it has no codes for what happens after its answer has begun.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        // A registry's status stands in front of its words: `pull model manifest: 429: …`.
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
            None if says(&PASSING) => Self::Transient,
            None => Self::Other,
        }
    }
}

/// What Go says of connections that were not made, or broke.
const PASSING: [&str; 12] = [
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
                "check the model's name and tag; a registry of your own belongs in the name, as `host/namespace/model:tag`"
                    .into()
            }
            Self::Denied { url, status: 403 } if url.contains("/api/") => {
                "Ollama on loopback answers only to an IP address, `localhost` or the machine's own name: use one of them as the endpoint"
                    .into()
            }
            Self::Denied { .. } | Self::Failed { fault: Fault::Denied, .. } => {
                "check the model's name; a private model needs Ollama's own key (`~/.ollama/id_ed25519.pub`) at its registry"
                    .into()
            }
            Self::Failed { fault: Fault::Full, .. } => {
                "free some space where Ollama keeps its models; the next try goes on where this one ended".into()
            }
            Self::Failed { fault: Fault::Mismatch, .. } | Self::Checksum { .. } => {
                "the registry, or something on the way to it, changes what it sends; the next try fetches it again".into()
            }
            Self::Failed { fault: Fault::Insecure, .. } => "say `insecure: true` for a registry on plain HTTP".into(),
            Self::StillLoaded { .. } => "a request to the model still runs; it is unloaded when that ends".into(),
            Self::Network { source, .. } => return source.hint(),
            _ => return None,
        })
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::Stalled { .. } | Self::Cut { .. } | Self::StillLoaded { .. } => Retry::Soon,
            Self::Failed { fault: Fault::Transient, .. } | Self::Cancelled => Retry::Soon,
            Self::Network { source, .. } => source.retry(),
            _ => Retry::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn the_words_of_ollama_are_told_apart() {
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
