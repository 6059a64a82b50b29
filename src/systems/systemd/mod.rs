//! The systemd user manager over D-Bus (org.freedesktop.systemd1(5)).
//!
//! A job's signal is listened for before the job is queued, and never trusted alone: a lost signal is made good by
//! looking at the unit. What a unit's state means for a server's health is not decided here.

mod proxy;
mod unit;

pub use unit::{ActiveState, LoadState, Unit};

use super::{Hint, Retry};
use futures_util::StreamExt;
use proxy::{JobRemovedStream, ManagerProxy};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

/// The longest wait for an answer of the manager.
const CALL: Duration = Duration::from_secs(10);

/// The longest wait for the bus itself.
const CONNECT: Duration = Duration::from_secs(3);

/// The longest wait for a reload of all unit files.
const RELOAD: Duration = Duration::from_secs(90);

/// How often a unit is looked at while its job is awaited, should the signal be lost.
const EVERY: Duration = Duration::from_millis(250);

/// The longest that a unit of any stack may take to stop.
pub const LONGEST_STOP: Duration = Duration::from_secs(600);

const SERVICE: &str = "org.freedesktop.systemd1";

/// What went wrong between llamero and the manager.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no user manager to talk to.
    #[error("no systemd user manager answers on the user bus ({why})")]
    NoUserManager {
        /// What was tried, and what came back.
        why: String,
    },
    /// The manager refused a call.
    #[error("systemd refused to {what}")]
    Refused {
        /// What was asked.
        what: String,
        /// What it said.
        #[source]
        source: zbus::Error,
    },
    /// The manager did not answer in time.
    #[error("systemd did not {what} within {} s", after.as_secs())]
    Deadline {
        /// What was asked.
        what: String,
        /// How long was waited.
        after: Duration,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoUserManager { .. } => Some(
                "log in as the user (`loginctl enable-linger USER` keeps the manager running after logout), or say \
                 `runtime: process` in the manifest"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::Deadline { .. }) { Retry::Soon } else { Retry::Never }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// Another word of systemd's: `canceled`, `timeout`, `dependency`, `skipped`.
    Other(String),
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Other(word) => word,
        })
    }
}

/// A connection to the user manager.
#[derive(Debug, Clone)]
pub struct Systemd {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

impl Systemd {
    /// Connects to the manager of the user who runs this.
    pub async fn connect() -> Result<Self, Error> {
        let missing = |why: String| Error::NoUserManager { why };
        let builder = match std::env::var("DBUS_SESSION_BUS_ADDRESS") {
            Ok(_) => zbus::connection::Builder::session(),
            Err(_) => {
                let folder =
                    std::env::var("XDG_RUNTIME_DIR").map_err(|_| missing("XDG_RUNTIME_DIR is not set".into()))?;
                zbus::connection::Builder::address(format!("unix:path={folder}/bus").as_str())
            }
        };
        let connected = tokio::time::timeout(CONNECT, builder.build()).await;
        let connection = connected
            .map_err(|_| missing(format!("the bus did not answer within {} s", CONNECT.as_secs())))?
            .map_err(|error| missing(error.to_string()))?;
        Self::over(connection).await
    }

    /// Talks to a manager over a connection that is there.
    pub async fn over(connection: Connection) -> Result<Self, Error> {
        let missing = |error: zbus::Error| Error::NoUserManager { why: error.to_string() };
        let manager = ManagerProxy::new(&connection).await.map_err(missing)?;
        let subscribed = tokio::time::timeout(CONNECT, manager.subscribe()).await;
        subscribed
            .map_err(|_| Error::NoUserManager { why: "the manager does not answer".to_owned() })?
            .map_err(missing)?;
        Ok(Self { connection, manager })
    }

    /// Looks at several units at once. A unit that does not exist is one with [`LoadState::NotFound`].
    pub async fn units(&self, names: &[String]) -> BTreeMap<String, Result<Unit, Error>> {
        let looks = names.iter().map(|name| async { (name.clone(), self.unit(name).await) });
        futures_util::future::join_all(looks).await.into_iter().collect()
    }

    async fn unit(&self, name: &str) -> Result<Unit, Error> {
        let path = object_path(name);
        let (unit, service) = tokio::join!(self.all(&path, name, "Unit"), self.all(&path, name, "Service"));
        Ok(unit::read(&unit?, &service?))
    }

    async fn all(&self, path: &str, name: &str, interface: &str) -> Result<HashMap<String, OwnedVariant>, Error> {
        let what = format!("describe {name}");
        let interface = format!("{SERVICE}.{interface}");
        let arguments = (interface.as_str(),);
        let call = self.connection.call_method(
            Some(SERVICE),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &arguments,
        );
        let reply = within(&what, CALL, call).await?;
        reply.body().deserialize().map_err(|source| Error::Refused { what, source })
    }

    /// Has the manager read all unit files again.
    pub async fn reload(&self) -> Result<(), Error> {
        within("reload its unit files", RELOAD, self.manager.reload()).await
    }

    /// Starts a unit, and waits until its job has ended.
    pub async fn start(&self, unit: &str, deadline: Duration) -> Result<Job, Error> {
        self.reset_failed(unit).await;
        let what = format!("start {unit}");
        self.job(unit, what, deadline, self.manager.start_unit(unit, "replace")).await
    }

    /// Stops and starts a unit, and waits until its job has ended.
    pub async fn restart(&self, unit: &str, deadline: Duration) -> Result<Job, Error> {
        self.reset_failed(unit).await;
        let what = format!("restart {unit}");
        self.job(unit, what, deadline, self.manager.restart_unit(unit, "replace")).await
    }

    /// Stops a unit, and waits until its job has ended.
    pub async fn stop(&self, unit: &str, deadline: Duration) -> Result<Job, Error> {
        let what = format!("stop {unit}");
        let job = self.job(unit, what, deadline, self.manager.stop_unit(unit, "replace")).await?;
        self.reset_failed(unit).await;
        Ok(job)
    }

    /// Lets a unit that hit its start limit start again; one that did not fail is not loaded, which is as well.
    async fn reset_failed(&self, unit: &str) {
        let _ = within("reset a failed unit", CALL, self.manager.reset_failed_unit(unit)).await;
    }

    async fn job(
        &self,
        unit: &str,
        what: String,
        deadline: Duration,
        call: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> Result<Job, Error> {
        let begun = Instant::now();
        let mut removed = within("tell of its jobs", CALL, self.manager.receive_job_removed()).await?;
        let path = within(&what, CALL, call).await?;
        loop {
            if let Ok(result) = tokio::time::timeout(EVERY, ended(&mut removed, &path)).await {
                match result {
                    Some(result) => return Ok(result),
                    // The bus is gone; looking at the unit below will say so.
                    None => tokio::time::sleep(EVERY).await,
                }
            }
            if begun.elapsed() >= deadline {
                return Err(Error::Deadline { what, after: deadline });
            }
            if self.unit(unit).await?.job == 0 {
                // Its signal may be on its way still.
                return match tokio::time::timeout(EVERY, ended(&mut removed, &path)).await {
                    Ok(Some(result)) => Ok(result),
                    _ => Ok(Job::Done),
                };
            }
        }
    }

    /// Has units start with the machine.
    pub async fn enable(&self, units: &[String]) -> Result<(), Error> {
        within("enable a unit", CALL, self.manager.enable_unit_files(units, false, true)).await.map(drop)
    }

    /// Has units no longer start with the machine.
    pub async fn disable(&self, units: &[String]) -> Result<(), Error> {
        within("disable a unit", CALL, self.manager.disable_unit_files(units, false)).await.map(drop)
    }

    /// Returns the last lines that a unit wrote to the journal; none where it cannot be read.
    pub async fn last_lines(&self, unit: &str, count: usize) -> Vec<String> {
        let Ok(invocation) = self.unit(unit).await.map(|unit| unit.invocation) else { return Vec::new() };
        if invocation.is_empty() {
            return Vec::new();
        }
        // By invocation and not by `--user --unit`: that needs a journal of the user's own, which not every machine keeps.
        let mut journal = tokio::process::Command::new("journalctl");
        journal.args(["--no-pager", "-o", "cat", "-n", &count.to_string()]);
        journal.arg(format!("_SYSTEMD_INVOCATION_ID={invocation}")).kill_on_drop(true);
        journal.stdin(std::process::Stdio::null());
        match tokio::time::timeout(CONNECT, journal.output()).await {
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter(|line| !line.starts_with("-- "))
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        }
    }
}

async fn ended(removed: &mut JobRemovedStream, job: &OwnedObjectPath) -> Option<Job> {
    while let Some(signal) = removed.next().await {
        if let Ok(arguments) = signal.args()
            && arguments.job == *job
        {
            return Some(match arguments.result.as_str() {
                "done" => Job::Done,
                "failed" => Job::Failed,
                other => Job::Other(other.to_owned()),
            });
        }
    }
    None
}

async fn within<T>(what: &str, deadline: Duration, call: impl Future<Output = zbus::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result.map_err(|source| Error::Refused { what: what.to_owned(), source }),
        Err(_) => Err(Error::Deadline { what: what.to_owned(), after: deadline }),
    }
}

/// Returns the object path of a unit: everything but letters and digits as `_` and two hexadecimal digits.
fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::object_path;

    #[test]
    fn object_paths_are_escaped() {
        assert_eq!(object_path("t1.service"), "/org/freedesktop/systemd1/unit/t1_2eservice");
        assert_eq!(object_path("1-a.service"), "/org/freedesktop/systemd1/unit/_31_2da_2eservice");
    }
}
