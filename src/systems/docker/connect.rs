//! The address of the engine's socket: `DOCKER_HOST`, then Docker's current context, then the places that engines use.
//!
//! Only sockets of this machine count: what is managed must be here.

use super::Error;
use crate::resource::{Bytes, Digest};
use crate::systems::files;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The largest of Docker's configuration files that is read.
pub(super) const LIMIT: Bytes = Bytes(4 << 20);

/// The environment variables that decide on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DockerEnvironment {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// The folder of Docker's own configuration: `DOCKER_CONFIG`, or `~/.docker`.
    pub configuration: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
    /// The folder that `/var/run` and `/run` are looked for in.
    pub root: PathBuf,
}

impl DockerEnvironment {
    /// Returns what this process's environment says.
    #[must_use]
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = variable("HOME").map(|home| PathBuf::from(home).join(".docker"));
        Self {
            host: variable("DOCKER_HOST"),
            context: variable("DOCKER_CONTEXT"),
            configuration: variable("DOCKER_CONFIG").map(PathBuf::from).or(home),
            runtime: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
            root: PathBuf::from("/"),
        }
    }

    /// Returns the sockets to try, the best first.
    pub fn sockets(&self) -> Result<Vec<PathBuf>, Error> {
        if let Some(host) = &self.host {
            return socket("DOCKER_HOST", host).map(|path| vec![path]);
        }
        if let Some(context) = self.context()? {
            return self.of_context(&context).map(|path| vec![path]);
        }
        let mut sockets = vec![self.root.join("var/run/docker.sock")];
        if let Some(runtime) = &self.runtime {
            sockets.extend([runtime.join("docker.sock"), runtime.join("podman/podman.sock")]);
        }
        sockets.push(self.root.join("run/podman/podman.sock"));
        Ok(sockets)
    }

    /// Returns the name of the current context, where it is another than that of the usual sockets.
    fn context(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Configuration {
            #[serde(default, rename = "currentContext")]
            current_context: Option<String>,
        }
        let named = match (&self.context, &self.configuration) {
            (Some(context), _) => Some(context.clone()),
            (None, Some(folder)) => {
                read::<Configuration>(&folder.join("config.json"))?.and_then(|live| live.current_context)
            }
            (None, None) => None,
        };
        Ok(named.filter(|name| !name.is_empty() && name != "default"))
    }

    fn of_context(&self, context: &str) -> Result<PathBuf, Error> {
        #[derive(Deserialize)]
        struct Context {
            #[serde(rename = "Endpoints")]
            endpoints: Endpoints,
        }
        #[derive(Deserialize)]
        struct Endpoints {
            docker: Endpoint,
        }
        #[derive(Deserialize)]
        struct Endpoint {
            #[serde(rename = "Host")]
            host: String,
        }
        let from = format!("Docker's context `{context}`");
        let folder = self.configuration.clone().unwrap_or_default();
        let path = folder.join("contexts/meta").join(Digest::of(context).as_str()).join("meta.json");
        let Some(live) = read::<Context>(&path)? else {
            return Err(Error::Configuration { path, why: format!("{from} is not there") });
        };
        socket(&from, &live.endpoints.docker.host)
    }
}

/// Reads a file of Docker's configuration; `None` where there is none.
pub(super) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = files::read_text(path, LIMIT).map_err(|source| Error::ConfigurationFile { source })?;
    let Some(text) = text else { return Ok(None) };
    let bad = |error: serde_json::Error| {
        // The error's own text may quote a password.
        let why = format!("line {}, column {}", error.line(), error.column());
        Error::Configuration { path: path.to_owned(), why }
    };
    serde_json::from_str(&text).map(Some).map_err(bad)
}

fn socket(from: &str, address: &str) -> Result<PathBuf, Error> {
    let bad = |why| Error::Address { from: from.to_owned(), address: address.to_owned(), why };
    match address.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(("unix", _)) => Err(bad("that is no absolute path")),
        Some(("tcp" | "http" | "https" | "ssh", _)) => Err(bad("an engine on another machine is not managed")),
        _ => Err(bad("that is no address of an engine")),
    }
}

/// Returns the first socket that is there and may be used. One without a listener is an error and not skipped:
/// to go on with another engine would be to take all containers for gone.
pub(super) async fn pick(sockets: Vec<PathBuf>, deadline: std::time::Duration) -> Result<PathBuf, Error> {
    let mut denied = None;
    for socket in &sockets {
        let socket = socket.clone();
        let what = format!("connect to {}", socket.display());
        let late = |_| Error::Deadline { what, after: deadline };
        match timeout(deadline, UnixStream::connect(&socket)).await.map_err(late)? {
            Ok(_) => return Ok(socket),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => denied = denied.or(Some(socket)),
            Err(source) => return Err(Error::Unreachable { socket, source }),
        }
    }
    Err(match denied {
        Some(socket) => Error::SocketDenied { socket },
        None => Error::NoSocket { tried: sockets },
    })
}

#[cfg(test)]
mod tests {
    use super::{DockerEnvironment, Error};
    use crate::resource::Digest;
    use std::path::{Path, PathBuf};

    fn at(folder: &Path) -> DockerEnvironment {
        DockerEnvironment {
            configuration: Some(folder.join(".docker")),
            runtime: Some(folder.join("run-user")),
            root: folder.to_owned(),
            ..DockerEnvironment::default()
        }
    }

    fn context(folder: &Path, name: &str, host: &str) {
        let meta = folder.join(".docker/contexts/meta").join(Digest::of(name).as_str());
        std::fs::create_dir_all(&meta).expect("made");
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        std::fs::write(meta.join("meta.json"), text).expect("written");
        let current = format!(r#"{{"currentContext":"{name}","auths":{{}}}}"#);
        std::fs::write(folder.join(".docker/config.json"), current).expect("written");
    }

    #[test]
    fn the_usual_places_are_tried_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let shown: Vec<String> = at(folder.path())
            .sockets()
            .expect("sockets")
            .iter()
            .map(|path| path.strip_prefix(folder.path()).expect("below").display().to_string())
            .collect();
        let expected =
            ["var/run/docker.sock", "run-user/docker.sock", "run-user/podman/podman.sock", "run/podman/podman.sock"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_said_aloud_comes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        context(folder.path(), "rootless", "unix:///run/user/7/docker.sock");
        let mut surroundings = at(folder.path());
        assert_eq!(surroundings.sockets().expect("one"), [PathBuf::from("/run/user/7/docker.sock")]);
        surroundings.context = Some("default".to_owned());
        assert_eq!(surroundings.sockets().expect("four").len(), 4);
        surroundings.host = Some("unix:///x.sock".to_owned());
        assert_eq!(surroundings.sockets().expect("one"), [PathBuf::from("/x.sock")]);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_who_said_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for address in ["tcp://10.0.0.1:2375", "ssh://me@there", "npipe://x", "/run/docker.sock", "unix://docker.sock"]
        {
            let surroundings = DockerEnvironment { host: Some(address.to_owned()), ..at(folder.path()) };
            let error = surroundings.sockets().expect_err(address);
            assert!(error.to_string().starts_with(&format!("DOCKER_HOST says `{address}`")), "{error}");
        }
        context(folder.path(), "far", "ssh://me@there");
        let error = at(folder.path()).sockets().expect_err("far");
        assert!(error.to_string().contains("context `far` says `ssh://me@there`"), "{error}");
        let gone = DockerEnvironment { context: Some("gone".to_owned()), ..at(folder.path()) };
        assert!(matches!(gone.sockets(), Err(Error::Configuration { .. })));
        std::fs::write(folder.path().join(".docker/config.json"), "{\"auths\": {\"x\": \"hunter2\"").expect("written");
        let error = at(folder.path()).sockets().expect_err("damaged");
        assert!(error.to_string().contains("config.json is no configuration of Docker: line 1"), "{error}");
    }
}
