//! The systems of one machine, each at the far side of its wire: a user manager, a container engine and an Ollama,
//! which answer when a test lets them.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Json, Response};
use llamero::systems::docker::{Deadlines, Docker, DockerEnvironment};
use llamero::systems::http::Client;
use llamero::systems::process::Processes;
use llamero::systems::systemd::{Logind, Systemd};
use llamero::systems::{Handle, RecordFolders, Systems};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zbus::{Connection, Guid, connection, interface};

/// The managers' ends of connections.
type Managers = Arc<Mutex<Vec<Connection>>>;

/// What came to the systems, and what lets them answer.
#[derive(Clone)]
pub(crate) struct Wires {
    asked: watch::Sender<BTreeMap<&'static str, Vec<String>>>,
    /// The systems that must have been asked before one may answer.
    before: Arc<BTreeMap<&'static str, BTreeSet<&'static str>>>,
}

impl Wires {
    /// Returns wires on which each system answers once those have been asked that `before` names for it.
    pub(crate) fn new(before: &[(&'static str, &[&'static str])]) -> Self {
        let before = before.iter().map(|(system, others)| (*system, others.iter().copied().collect()));
        Self { asked: watch::channel(BTreeMap::new()).0, before: Arc::new(before.collect()) }
    }

    /// Takes a call to a system, and returns when the system may answer.
    async fn take(&self, system: &'static str, call: String) {
        self.asked.send_modify(|asked| asked.entry(system).or_default().push(call));
        let Some(others) = self.before.get(system) else { return };
        self.until(|asked| others.iter().all(|other| asked.contains_key(other))).await;
    }

    /// Waits until the calls are as expected.
    pub(crate) async fn until(&self, holds: impl Fn(&BTreeMap<&'static str, Vec<String>>) -> bool) {
        self.asked.subscribe().wait_for(|asked| holds(asked)).await.expect("the wires stand");
    }

    /// Returns the calls that came to a system.
    pub(crate) fn calls(&self, system: &str) -> Vec<String> {
        self.asked.borrow().get(system).cloned().unwrap_or_default()
    }
}

/// A machine; what runs for it ends with it.
pub(crate) struct FakeMachine {
    pub(crate) wires: Wires,
    pub(crate) systems: Systems,
    pub(crate) ollama: String,
    pub(crate) managers: Managers,
    pub(crate) folder: TempDir,
    engine: Mutex<JoinSet<()>>,
    _servers: JoinSet<()>,
}

impl FakeMachine {
    /// Starts a machine whose engine speaks version `api`.
    pub(crate) async fn start(wires: Wires, api: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let ollama = format!("http://{}", listener.local_addr().expect("an address"));
        let mut servers = JoinSet::new();
        let router = served(wires.clone(), "ollama", |_| json!({"models": []}));
        servers.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let managers: Managers = Arc::default();
        let (of_manager, kept) = (wires.clone(), Arc::clone(&managers));
        let systemd = Handle::new(move || manager(of_manager.clone(), Arc::clone(&kept)));
        let environment = DockerEnvironment {
            host: Some(format!("unix://{}", folder.path().join("docker.sock").display())),
            ..DockerEnvironment::default()
        };
        let docker = Handle::new(move || {
            let environment = environment.clone();
            async move { Docker::connect_from(&environment, Deadlines::default()).await }
        });
        let path = |name: &str| folder.path().join(name);
        let records = RecordFolders { artifacts: path("artifacts"), models: path("models"), images: path("images") };
        let processes = Processes::new(path("processes"), PathBuf::from("/nowhere/llamero"));
        let systems = Systems::new(Client::new().expect("a client"), processes, path("units"), records);
        let of_logind = wires.clone();
        let logind = Handle::new(move || logind(of_logind.clone()));
        let systems = systems.with_systemd(systemd).with_docker(docker).with_logind(logind);
        let machine = Self { wires, systems, ollama, managers, folder, engine: Mutex::default(), _servers: servers };
        machine.start_engine(api);
        machine
    }

    /// Starts the container engine, after it was stopped.
    pub(crate) fn start_engine(&self, api: &'static str) {
        let socket = self.folder.path().join("docker.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
        let router = served(self.wires.clone(), "docker", move |path| match path {
            "/version" => json!({"Version": "1", "ApiVersion": api, "Components": []}),
            "/info" => json!({"SecurityOptions": []}),
            path if path.ends_with("/json") && !path.ends_with("/containers/json") => Value::Null,
            _ => json!([]),
        });
        let mut engine = self.engine.lock().expect("no panic");
        engine.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    }

    /// Stops the container engine: its connections break, and its socket leads nowhere.
    pub(crate) async fn stop_engine(&self) {
        let mut engine = std::mem::take(&mut *self.engine.lock().expect("no panic"));
        engine.shutdown().await;
    }
}

/// Answers `GET`s; `Value::Null` stands for what is not there.
fn served(
    wires: Wires,
    system: &'static str,
    answer: impl Fn(&str) -> Value + Clone + Send + Sync + 'static,
) -> axum::Router {
    axum::Router::new().fallback(move |request: Request| {
        let (wires, answer) = (wires.clone(), answer.clone());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        async move {
            wires.take(system, format!("{method} {path}")).await;
            reply(&path, answer)
        }
    })
}

fn reply(path: &str, answer: impl Fn(&str) -> Value) -> Response {
    let plain = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(path);
    match answer(plain) {
        Value::Null => (axum::http::StatusCode::NOT_FOUND, Json(json!({"message": "no such thing"}))).into_response(),
        body => Json(body).into_response(),
    }
}

/// Connects to a manager that keeps its end of the connection in `kept`.
async fn manager(wires: Wires, kept: Managers) -> Result<Systemd, llamero::systems::systemd::Error> {
    let (near, far) = UnixStream::pair().expect("a socket pair");
    let unit = "/org/freedesktop/systemd1/unit/home_2dpage_2eservice";
    let server = connection::Builder::unix_stream(far)
        .server(Guid::generate())
        .p2p()
        .serve_at("/org/freedesktop/systemd1", Manager(wires.clone()))
        .serve_at(unit, Unit { wires, kept: Arc::clone(&kept), load_state: "loaded" })
        .serve_at(unit, Service { restarts: 0 });
    let client = connection::Builder::unix_stream(near).p2p();
    let (server, client) = tokio::try_join!(server.build(), client.build()).expect("two ends");
    kept.lock().expect("no panic").push(server);
    Systemd::over(client).await
}

/// Connects to a login manager, which is there where `before` names it, and whose users then do not linger.
async fn logind(wires: Wires) -> zbus::Result<Logind> {
    if !wires.before.contains_key("logind") {
        return Err(zbus::Error::Failure("there is none".to_owned()));
    }
    let (near, far) = UnixStream::pair().expect("a socket pair");
    let user = format!("/org/freedesktop/login1/user/_{}", rustix::process::getuid().as_raw());
    let server =
        connection::Builder::unix_stream(far).server(Guid::generate()).p2p().serve_at(user, User { linger: false });
    let client = connection::Builder::unix_stream(near).p2p();
    let (server, client) = tokio::try_join!(server.build(), client.build())?;
    // It lasts as long as its client.
    tokio::spawn(async move { server.closed().await });
    Ok(Logind::over(client))
}

struct User {
    linger: bool,
}

#[interface(name = "org.freedesktop.login1.User")]
impl User {
    #[zbus(property)]
    fn linger(&self) -> bool {
        self.linger
    }
}

struct Manager(Wires);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn subscribe(&self) {
        self.0.take("systemd", "Subscribe".to_owned()).await;
    }
}

struct Unit {
    wires: Wires,
    kept: Managers,
    load_state: &'static str,
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    async fn active_state(&self) -> String {
        self.wires.take("systemd", "ActiveState".to_owned()).await;
        // A manager that goes while it is asked.
        if self.wires.before.contains_key("leaves") && self.wires.calls("systemd").len() == 2 {
            let connection = self.kept.lock().expect("no panic").last().cloned().expect("a connection");
            tokio::spawn(connection.close());
            std::future::pending::<()>().await;
        }
        "active".to_owned()
    }

    #[zbus(property)]
    fn load_state(&self) -> &str {
        self.load_state
    }
}

struct Service {
    restarts: u32,
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        self.restarts
    }
}
