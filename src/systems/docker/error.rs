//! Failures of Docker, or of Podman in its place.

use crate::systems::{Hint, Retry, files};
use std::path::PathBuf;
use std::time::Duration;

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine has left a socket where one is looked for.
    #[error("no Docker socket at {}", listed(tried))]
    NoSocket {
        /// Every path that was tried.
        tried: Vec<PathBuf>,
    },
    /// The address that was asked for is none that llamero can use.
    #[error("{from} says `{address}`: {why}")]
    Address {
        /// The origin of the address, such as `DOCKER_HOST`.
        from: String,
        /// Its message.
        address: String,
        /// The reason why it is not used.
        why: &'static str,
    },
    /// A file of Docker's configuration cannot be read.
    #[error("cannot read Docker's configuration")]
    ConfigurationFile {
        /// The cause.
        #[source]
        source: files::Error,
    },
    /// A file of Docker's configuration is not what it should be.
    #[error("{} is no configuration of Docker: {why}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// The socket is there, and we may not use it.
    #[error("{} may not be used by this user", socket.display())]
    SocketDenied {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket exists, and nothing answers.
    #[error("no answer at {}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The engine is too old to be spoken to.
    #[error("the engine at {} speaks API {live}, and llamero needs {needed}", socket.display())]
    TooOld {
        /// The socket.
        socket: PathBuf,
        /// Its protocol.
        live: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// A name that no container, network or volume can have.
    #[error("`{name}` cannot be the name of a {kind}")]
    Name {
        /// The thing to be named.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Nothing came in time.
    #[error("{what}: timed out after {} s", after.as_secs_f32())]
    Deadline {
        /// The attempted operation.
        what: String,
        /// The time waited.
        after: Duration,
    },
    /// There is no such thing.
    #[error("{what}: {message}")]
    NotFound {
        /// The attempted operation.
        what: String,
        /// The engine's message.
        message: String,
    },
    /// The name is taken, or the thing is in use.
    #[error("{what}: {message}")]
    Conflict {
        /// The attempted operation.
        what: String,
        /// The engine's message.
        message: String,
    },
    /// It does not carry the mark of this stack, and so it is not touched.
    #[error("{what}: it does not belong to the stack `{stack}`")]
    NotOurs {
        /// The attempted operation.
        what: String,
        /// The stack.
        stack: String,
    },
    /// The engine refused, or began and then failed.
    #[error("{what}: {message}")]
    Refused {
        /// The attempted operation.
        what: String,
        /// The engine's message.
        message: String,
        /// The kind of failure.
        fault: Fault,
    },
    /// The answer ended before the engine reported success.
    #[error("{what}: the engine closed the stream early")]
    Cut {
        /// The attempted operation.
        what: String,
    },
    /// The engine has no such call.
    #[error("{what}: Podman cannot do that")]
    Unsupported {
        /// The attempted operation.
        what: String,
    },
    /// The program that keeps a registry's password does not give it.
    #[error("`{program}` returns no password for {registry}: {why}")]
    Credentials {
        /// The program.
        program: String,
        /// The registry.
        registry: String,
        /// The cause.
        why: String,
    },
    /// The connection was lost, or the answer made no sense.
    #[error("{what}: the connection to {} failed", socket.display())]
    Connection {
        /// The attempted operation.
        what: String,
        /// The socket.
        socket: PathBuf,
        /// The cause.
        #[source]
        source: bollard::errors::Error,
    },
    /// It was called off.
    #[error("interrupted")]
    Cancelled,
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The kind of a failure that the engine reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A port of the host is taken.
    Port,
    /// The engine cannot give GPUs to containers.
    Gpu,
    /// The image has no such program.
    Program,
    /// The registry, or this machine, has no such image.
    Image,
    /// The registry does not let us have it.
    Denied,
    /// The registry wants to be asked less often.
    Often,
    /// The disk is full.
    Full,
    /// The registry speaks plain HTTP, and the engine does not.
    Insecure,
    /// The name is taken.
    Taken,
    /// The engine does not speak the version that was agreed on.
    Version,
    /// The way to the registry, or the engine itself, failed for now.
    Transient,
    /// Anything else.
    Other,
}

/// Which words mean what; the first that fits counts. They are those of Docker 20 to 29 and Podman 4 and 5, of runc and
/// crun, and of Go's network library, as the tests below quote them.
const WORDS: [(Fault, &[&str]); 11] = [
    // The API's middleware, where the engine was replaced by an older or a newer one.
    (Fault::Version, &["client version "]),
    // Podman has no status of its own for it.
    (Fault::Taken, &["is already in use"]),
    (Fault::Full, &["no space left", "disk quota exceeded"]),
    (Fault::Port, &["port is already allocated", "address already in use"]),
    (Fault::Gpu, &["could not select device driver", "unresolvable cdi device", "nvidia-container-cli"]),
    (Fault::Often, &["toomanyrequests", "too many requests"]),
    (Fault::Insecure, &["http response to https client"]),
    (
        Fault::Image,
        &["manifest unknown", "no such image", "manifest for ", "name unknown", "image not known", "name invalid"],
    ),
    (Fault::Denied, &["unauthorized", "access denied", "access to the resource is denied", "no basic auth"]),
    (
        Fault::Transient,
        &[
            "connection re",
            "dial tcp",
            "eof",
            "timeout",
            "deadline exceeded",
            "no such host",
            "network is unreachable",
            "no route to host",
            "server error",
            "received unexpected http status: 5",
        ],
    ),
    (Fault::Program, &["executable file not found", "stat /", "unable to start container process: exec"]),
];

impl Fault {
    /// Reads the engine's message: it has no codes for what goes wrong between it and others.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let fits = |words: &[&str]| words.iter().any(|word| message.contains(word));
        WORDS.iter().find(|(_, words)| fits(words)).map_or(Self::Other, |(fault, _)| *fault)
    }
}

impl Error {
    /// Returns whether the way to the engine is gone, or leads to another engine than the one that was found: an engine
    /// that was upgraded may refuse the version that was agreed on with its predecessor.
    pub(super) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Refused { fault, .. } => *fault == Fault::Version,
            _ => false,
        }
    }

    /// Translates what the engine's client reported of an attempt to do `what`.
    pub(super) fn of(what: &str, socket: &std::path::Path, error: bollard::errors::Error) -> Self {
        let what = what.to_owned();
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code, message } => {
                Self::answered(what, status_code, &message)
            }
            bollard::errors::Error::DockerStreamError { error } => {
                Self::Refused { what, fault: Fault::of(&error), message: one_line(&error) }
            }
            source => Self::Connection { what, socket: socket.to_owned(), source },
        }
    }

    fn answered(what: String, status: u16, message: &str) -> Self {
        let fault = Fault::of(message);
        let message = if message.trim().is_empty() { format!("status {status}") } else { one_line(message) };
        match (status, fault) {
            (_, Fault::Port | Fault::Gpu | Fault::Full) => Self::Refused { what, message, fault },
            (404, fault) if fault != Fault::Image => Self::NotFound { what, message },
            (409, _) => Self::Conflict { what, message },
            (500, Fault::Taken) => Self::Conflict { what, message },
            (408 | 429 | 502..=504, Fault::Other) => Self::Refused { what, message, fault: Fault::Transient },
            _ => Self::Refused { what, message, fault },
        }
    }
}

/// Returns words that may stand in one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoSocket { .. } => {
                "start Docker (`systemctl start docker`) or Podman (`systemctl --user start podman.socket`), or set \
                 `DOCKER_HOST` to the socket"
            }
            Self::Unreachable { .. } => {
                "`systemctl start docker` starts it; `systemctl status docker` says why it ended"
            }
            Self::SocketDenied { .. } => {
                "join the group `docker` (`sudo usermod -aG docker $USER`, then log in again), or use rootless Docker or Podman"
            }
            Self::Address { .. } => {
                "llamero manages this machine alone: use a socket of it, as `unix:///run/docker.sock`"
            }
            Self::Deadline { .. } | Self::Connection { .. } => "`systemctl status docker` says whether the engine runs",
            Self::Credentials { .. } => "`docker login` writes the password anew",
            Self::NotOurs { .. } => "give it another name in the manifest, or remove what is there yourself",
            Self::Refused { fault, .. } => return fault.hint().map(str::to_owned),
            Self::ConfigurationFile { source } => return source.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn interrupted(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NoSocket { .. } | Self::Unreachable { .. } | Self::Deadline { .. } | Self::Cut { .. } => Retry::Soon,
            Self::Connection { .. } | Self::Cancelled => Retry::Soon,
            Self::Refused { fault: Fault::Transient | Fault::Often, .. } => Retry::Soon,
            _ => Retry::of_causes(self),
        }
    }
}

impl Fault {
    const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Port => "another container or program has the port: `ss -ltnp` says which",
            Self::Gpu => {
                "install the NVIDIA Container Toolkit and run `nvidia-ctk runtime configure` (for Podman: `nvidia-ctk cdi generate`)"
            }
            Self::Program => "check `command` and `image`: the image has no such program",
            Self::Image => "check the image's name and tag",
            Self::Denied => "check the image's name; a private one needs `docker login` at its registry",
            Self::Often => "`docker login` raises the limit of Docker Hub",
            Self::Full => "free some space where the engine keeps its images: `docker system df` says what takes it",
            Self::Insecure => "name the registry in the engine's `insecure-registries`, or give it a certificate",
            Self::Taken | Self::Version | Self::Transient | Self::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Fault};

    #[test]
    fn the_words_of_the_engines_are_told_apart() {
        for (words, fault) in [
            (
                "driver failed programming external connectivity on endpoint p2: Bind for 0.0.0.0:8081 failed: port is already allocated",
                Fault::Port,
            ),
            ("rootlessport listen tcp 127.0.0.1:80: bind: address already in use", Fault::Port),
            ("could not select device driver \"\" with capabilities: [[gpu]]", Fault::Gpu),
            ("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=0", Fault::Gpu),
            (
                "runc create failed: unable to start container process: exec: \"/nonesuch\": stat /nonesuch: no such file or directory: unknown",
                Fault::Program,
            ),
            ("exec: \"nonesuch\": executable file not found in $PATH: unknown", Fault::Program),
            ("manifest for 127.0.0.1:5000/t:2 not found: manifest unknown: manifest unknown", Fault::Image),
            ("No such image: t:1", Fault::Image),
            (
                "initializing source docker://127.0.0.1:5009/t:9: reading manifest 9 in 127.0.0.1:5009/t: manifest unknown",
                Fault::Image,
            ),
            ("pull access denied for x, repository does not exist or may require 'docker login'", Fault::Denied),
            ("Head \"https://r/v2/x/manifests/1\": unauthorized: authentication required", Fault::Denied),
            ("toomanyrequests: You have reached your pull rate limit", Fault::Often),
            (
                "Get \"http://127.0.0.1:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
                Fault::Transient,
            ),
            ("Get \"https://h/v2/\": http: server gave HTTP response to HTTPS client", Fault::Insecure),
            ("write /var/lib/docker/tmp/x: no space left on device", Fault::Full),
            ("invalid reference format", Fault::Other),
        ] {
            assert_eq!(Fault::of(words), fault, "{words}");
        }
    }

    #[test]
    fn an_answer_is_read_by_its_status_and_its_words() {
        let of = |status, message: &str| Error::answered("x".to_owned(), status, message);
        assert!(matches!(of(404, "No such container: x"), Error::NotFound { .. }));
        assert!(matches!(of(404, "No such image: x"), Error::Refused { fault: Fault::Image, .. }));
        assert!(matches!(of(409, "Conflict."), Error::Conflict { .. }));
        let podman = "creating container storage: the container name \"x\" is already in use by 1";
        assert!(matches!(of(500, podman), Error::Conflict { .. }));
        assert!(matches!(of(500, "Bind failed: port is already allocated"), Error::Refused { fault: Fault::Port, .. }));
        assert!(matches!(of(503, ""), Error::Refused { fault: Fault::Transient, .. }));
        assert_eq!(of(500, "").to_string(), "x: status 500");
        assert_eq!(of(500, "a\n  b").to_string(), "x: a b");
    }
}
