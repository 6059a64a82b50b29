//! A systemd manager with one unit, on the other end of a socket pair: it can lose, merge, delay and refuse.

use llamero::systems::systemd::Systemd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, DBusError, Guid, OwnedObjectPath, connection, interface};

/// The unit that the manager knows.
pub(crate) const UNIT: &str = "a.service";

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/a_2eservice";

/// How the manager behaves when it is asked to start, stop or restart.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// What `JobRemoved` says.
    pub(crate) result: &'static str,
    /// What the unit is after the job.
    pub(crate) state: &'static str,
    /// How long the job takes.
    pub(crate) takes: Duration,
    /// How long the answer to the call takes; `None` never comes.
    pub(crate) answers: Option<Duration>,
    /// Whether `JobRemoved` is lost.
    pub(crate) loses: bool,
    /// Whether the job is merged into another, whose number is one higher.
    pub(crate) merges: bool,
    /// How many jobs of other units end before ours.
    pub(crate) crowd: u32,
    /// Whether `JobRemoved` comes before the answer to the call.
    pub(crate) hurries: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            result: "done",
            state: "active",
            takes: Duration::from_millis(20),
            answers: Some(Duration::ZERO),
            loses: false,
            merges: false,
            crowd: 0,
            hurries: false,
        }
    }
}

#[derive(Debug)]
struct State {
    active: &'static str,
    job: Option<u32>,
    calls: Vec<String>,
}

/// The manager's end of the connection.
pub(crate) struct FakeSystemd {
    /// The manager's end; dropping it loses the connection.
    pub(crate) connection: Connection,
    state: Arc<Mutex<State>>,
}

impl FakeSystemd {
    /// Starts a manager and connects the real client to it.
    pub(crate) async fn start(script: Script) -> (Self, Systemd) {
        let (near, far) = UnixStream::pair().expect("a socket pair");
        let state = Arc::new(Mutex::new(State { active: "inactive", job: None, calls: vec![] }));
        let server = connection::Builder::unix_stream(far)
            .server(Guid::generate())
            .p2p()
            .serve_at(MANAGER_PATH, Manager { script, state: Arc::clone(&state) })
            .serve_at(UNIT_PATH, Unit { load_state: "a-word-of-tomorrow", state: Arc::clone(&state) })
            .serve_at(UNIT_PATH, Service { restarts: 3, memory_max: u64::MAX });
        let client = connection::Builder::unix_stream(near).p2p();
        let (connection, client) = tokio::try_join!(server.build(), client.build()).expect("two ends");
        let systemd = Systemd::over(client).await.expect("a subscription");
        (Self { connection, state }, systemd)
    }

    /// Returns the calls that came, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().expect("a whole state").calls.clone()
    }
}

fn job_path(id: u32) -> OwnedObjectPath {
    format!("{MANAGER_PATH}/job/{id}").try_into().expect("a path")
}

/// The errors that are systemd's own.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum ManagerError {
    #[zbus(error)]
    Bus(zbus::Error),
    NoSuchUnit(String),
}

struct Manager {
    script: Script,
    state: Arc<Mutex<State>>,
}

impl Manager {
    fn note(&self, call: String) {
        self.state.lock().expect("a whole state").calls.push(call);
    }

    async fn job(&self, call: String, emitter: SignalEmitter<'_>) -> zbus::fdo::Result<OwnedObjectPath> {
        let Script { result, state: after, takes, answers, loses, merges, crowd, hurries } = self.script.clone();
        let queued = if merges { 8 } else { 7 };
        self.note(call);
        self.state.lock().expect("a whole state").job = Some(queued);
        for id in 0..crowd {
            Self::job_removed(&emitter, 100 + id, job_path(100 + id), "b.service", "done").await?;
        }
        let state = Arc::clone(&self.state);
        let emitter = emitter.to_owned();
        let end = async move {
            crate::clock::pause_async(takes).await;
            {
                let mut state = state.lock().expect("a whole state");
                state.job = None;
                state.active = after;
            }
            if !loses {
                let _ = Self::job_removed(&emitter, queued, job_path(queued), UNIT, result).await;
            }
        };
        if hurries {
            end.await;
        } else {
            tokio::spawn(end);
        }
        match answers {
            Some(delay) => crate::clock::pause_async(delay).await,
            None => std::future::pending().await,
        }
        Ok(job_path(7))
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {
        self.note("Subscribe".to_owned());
    }

    fn reset_failed_unit(&self, name: &str) -> Result<(), ManagerError> {
        self.note(format!("ResetFailedUnit {name}"));
        Err(ManagerError::NoSuchUnit(format!("Unit {name} not loaded.")))
    }

    async fn start_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        self.job(format!("StartUnit {name} {mode}"), emitter).await
    }

    async fn stop_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        self.job(format!("StopUnit {name} {mode}"), emitter).await
    }

    fn restart_unit(&self, name: &str, mode: &str) -> zbus::fdo::Result<OwnedObjectPath> {
        self.note(format!("RestartUnit {name} {mode}"));
        Err(zbus::fdo::Error::AccessDenied("Access denied".to_owned()))
    }

    async fn reload(&self) {
        std::future::pending::<()>().await;
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

struct Unit {
    load_state: &'static str,
    state: Arc<Mutex<State>>,
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.state.lock().expect("a whole state").active
    }

    #[zbus(property)]
    fn job(&self) -> (u32, OwnedObjectPath) {
        match self.state.lock().expect("a whole state").job {
            Some(id) => (id, job_path(id)),
            None => (0, "/".try_into().expect("a path")),
        }
    }

    #[zbus(property)]
    fn load_state(&self) -> &str {
        self.load_state
    }
}

struct Service {
    restarts: u32,
    memory_max: u64,
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        self.restarts
    }

    #[zbus(property)]
    fn memory_max(&self) -> u64 {
        self.memory_max
    }
}
