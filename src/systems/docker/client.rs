//! The client of a container engine: its connection, and each call under its deadline.

use super::connect::{self, DockerEnvironment};
use super::error::Error;
use crate::systems::{Connection, files};
use llamero_core::targets::docker::lower::Engine;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// The oldest API that will do: the first in which containers can have GPUs.
const OLDEST: (u32, u32, &str) = (1, 40, "1.40");
/// The newest API that is spoken.
const NEWEST: (u32, u32) = (1, 53);
/// bollard's own deadline covers no more than the head of an answer; ours are beside each call.
const NO_DEADLINE: u64 = 24 * 3600;

/// The deadline of a call to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until the socket takes a connection.
    pub connect: Duration,
    /// For an answer to a question.
    pub call: Duration,
    /// For a change: a slow disk, or a GPU that wakes up.
    pub change: Duration,
    /// For an answer that the engine must first fetch from a registry.
    pub registry: Duration,
    /// For the next line of a pull.
    pub stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            call: Duration::from_secs(15),
            change: Duration::from_secs(60),
            registry: Duration::from_secs(30),
            stall: Duration::from_secs(120),
        }
    }
}

/// A way to the engine. Its clones share it; every request has a connection of its own.
#[derive(Clone)]
pub struct Docker {
    pub(super) api: bollard::Docker,
    socket: PathBuf,
    pub(super) engine: Engine,
    version: String,
    rootless: bool,
    pub(super) configuration: Option<PathBuf>,
    pub(super) deadlines: Deadlines,
    /// True if the engine that was found is not there any more as it was.
    lost: Arc<AtomicBool>,
}

impl Connection for Docker {
    type Error = Error;

    fn is_usable(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.engine, self.version, self.socket.display())
    }
}

impl Docker {
    /// Finds the engine that this process's environment leads to.
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_from(&DockerEnvironment::of_process(), Deadlines::default()).await
    }

    /// Returns this client with other deadlines for the calls to come.
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Finds the engine that `surroundings` lead to.
    pub async fn connect_from(surroundings: &DockerEnvironment, deadlines: Deadlines) -> Result<Self, Error> {
        let socket = connect::pick(surroundings.sockets()?, deadlines.connect).await?;
        let what = format!("connect to {}", socket.display());
        let failed = |error| Error::of(&what, &socket, error);
        let path = socket.to_string_lossy();
        let api = bollard::Docker::connect_with_unix(&path, NO_DEADLINE, bollard::API_DEFAULT_VERSION);
        let api = api.map_err(failed)?;
        let live = within(&what, &socket, deadlines.call, api.version()).await?;
        let spoken = live.api_version.unwrap_or_default();
        let too_old = || Error::TooOld { socket: socket.clone(), live: spoken.clone(), needed: OLDEST.2 };
        let newest = numbers(&spoken).filter(|live| *live >= (OLDEST.0, OLDEST.1)).ok_or_else(too_old)?;
        let (major, minor) = newest.min(NEWEST);
        let is_podman = live
            .components
            .unwrap_or_default()
            .iter()
            .any(|component| component.name.to_ascii_lowercase().starts_with("podman"));
        let api = api.with_request_modifier(move |mut request| {
            // bollard leaves the version out of the path, and then the engine takes its newest.
            if let Ok(versioned) = versioned(&request.uri().to_string(), major, minor).parse() {
                *request.uri_mut() = versioned;
            }
            // bollard writes credentials in the wrong alphabet of base64: an engine that meets `+` or `/` asks the
            // registry anonymously.
            if let Some(value) = request.headers_mut().get_mut("x-registry-auth") {
                let text = value.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
                if let Ok(mut translated) = text.parse() {
                    std::mem::swap(value, &mut translated);
                    value.set_sensitive(true);
                }
            }
            request
        });
        let about = within(&what, &socket, deadlines.call, api.info()).await?;
        let rootless = about.security_options.unwrap_or_default().iter().any(|option| option.contains("rootless"));
        Ok(Self {
            api,
            engine: if is_podman { Engine::Podman } else { Engine::Docker },
            version: live.version.unwrap_or_default(),
            rootless,
            configuration: surroundings.configuration.clone(),
            deadlines,
            socket,
            lost: Arc::default(),
        })
    }

    /// Returns which engine answers.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Returns the engine's own version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns whether it runs without root, and so may be unable to enforce limits.
    #[must_use]
    pub const fn is_rootless(&self) -> bool {
        self.rootless
    }

    /// Returns the socket at which it answers.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the user as whom the engine runs: who owns its socket.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        files::owner(&self.socket)
    }

    pub(super) async fn within<T>(
        &self,
        what: &str,
        deadline: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Error> {
        let answer = within(what, &self.socket, deadline, call).await;
        if answer.as_ref().is_err_and(Error::is_of_the_connection) {
            self.lost.store(true, Ordering::Relaxed);
        }
        answer
    }
}

/// Runs one call under its deadline and translates its failure.
async fn within<T>(
    what: &str,
    socket: &Path,
    deadline: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, Error> {
    match timeout(deadline, call).await {
        Ok(answer) => answer.map_err(|error| Error::of(what, socket, error)),
        Err(_) => Err(Error::Deadline { what: what.to_owned(), after: deadline }),
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns an address with the API's version in its path.
fn versioned(uri: &str, major: u32, minor: u32) -> String {
    match uri.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('/')?))) {
        Some((scheme, (host, path))) => format!("{scheme}://{host}/v{major}.{minor}/{path}"),
        None => uri.to_owned(),
    }
}

/// Returns a name if it can be one: it becomes a part of an address.
pub(super) fn checked<'a>(kind: &'static str, name: &'a str) -> Result<&'a str, Error> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    let fits = name.len() >= 2
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().all(|byte| is_word(byte) || matches!(byte, b'_' | b'.' | b'-'));
    if fits { Ok(name) } else { Err(Error::Name { kind, name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::{checked, numbers, versioned};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.9") < numbers("1.41") && numbers("1.41").is_some());
        assert_eq!((numbers("1"), numbers("")), (None, None));
        assert_eq!(versioned("unix://ab/info?x=1/2", 1, 41), "unix://ab/v1.41/info?x=1/2");
    }

    #[test]
    fn a_name_never_leaves_its_place_in_an_address() {
        for bad in ["", "a", "../x", "a/b", "a?b", "-a", "a b", "ä1", "a%2fb"] {
            assert!(checked("container", bad).is_err(), "{bad}");
        }
        assert!(checked("container", "lane-llama_cpp.1").is_ok());
    }
}
