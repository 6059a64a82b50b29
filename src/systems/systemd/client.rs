//! The client of the user manager: its connection, and each call under its deadline.

use super::bus::{self, ManagerProxy, PropertiesProxy, SERVICE, SOCKET, UNIT};
use super::error::Error;
use super::unit::Unit;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zbus::connection::Builder;
use zbus::proxy::CacheProperties;

/// The deadline of a connection to the manager.
const CONNECT: Duration = Duration::from_secs(3);

/// The deadline of an answer; starting and stopping have deadlines of their own.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// A connection to the systemd user manager. Its clones share it, and it closes with the last of them.
#[derive(Debug, Clone)]
pub struct Systemd {
    pub(super) connection: zbus::Connection,
    pub(super) manager: ManagerProxy<'static>,
    /// True if a call found that the connection leads nowhere any more.
    lost: Arc<AtomicBool>,
}

impl Systemd {
    /// Connects to the user manager over the user bus.
    pub async fn connect() -> Result<Self, Error> {
        let Some(address) = address() else {
            let tried = "DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR, which are not set".to_owned();
            return Err(Error::NoUserManager { tried, source: None });
        };
        let attempt = async { Self::subscribed(Builder::address(address.as_str()).build().await?).await };
        match tokio::time::timeout(CONNECT, attempt).await {
            Ok(Ok(systemd)) => Ok(systemd),
            Ok(Err(error)) => Err(Error::NoUserManager { tried: address, source: Some(error) }),
            Err(_) => {
                Err(Error::NoUserManager { tried: format!("{address} within {} s", CONNECT.as_secs()), source: None })
            }
        }
    }

    /// Uses a connection that stands already.
    pub async fn over(connection: zbus::Connection) -> Result<Self, Error> {
        within(CALL, "subscribe to signals", Self::subscribed(connection)).await
    }

    async fn subscribed(connection: zbus::Connection) -> zbus::Result<Self> {
        let manager = ManagerProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        manager.subscribe().await?;
        Ok(Self { connection, manager, lost: Arc::default() })
    }

    /// Returns what the manager reports of each unit; all are queried at once.
    pub async fn units(&self, names: &[String]) -> BTreeMap<String, Result<Unit, Error>> {
        join_all(names.iter().map(async |name| (name.clone(), self.unit(name).await))).await.into_iter().collect()
    }

    /// Returns what the manager reports of one unit.
    pub async fn unit(&self, name: &str) -> Result<Unit, Error> {
        self.within(CALL, &format!("read `{name}`"), async {
            let properties = self.properties(name).await?;
            // To ask for the interface of another kind of unit is an error.
            let kind = if name.ends_with(".socket") { SOCKET } else { SERVICE };
            let (unit, own) = futures_util::future::try_join(properties.unit(UNIT), properties.own(kind)).await?;
            Ok(Unit::read(unit, own))
        })
        .await
    }

    /// Returns the processes of a unit: all that are in its control group.
    pub async fn processes(&self, name: &str) -> Result<BTreeSet<u32>, Error> {
        let call = self.manager.get_unit_processes(name);
        let listed = self.within(CALL, &format!("list the processes of `{name}`"), call).await?;
        Ok(listed.into_iter().map(|(_, pid, _)| pid).collect())
    }

    /// Makes the manager read all unit files again. It restarts nothing.
    pub async fn reload(&self) -> Result<(), Error> {
        self.within(CALL, "reload the manager", self.manager.reload()).await
    }

    /// Runs one call under its deadline and translates its failure.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        what: &str,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, Error> {
        // A job's future is large, and it would be a part of every future around it.
        let answer = Box::pin(within(limit, what, call)).await;
        if matches!(answer, Err(Error::Connection { .. })) {
            self.lost.store(true, Ordering::Relaxed);
        }
        answer
    }

    pub(super) async fn properties(&self, unit: &str) -> zbus::Result<PropertiesProxy<'static>> {
        let builder = PropertiesProxy::builder(&self.connection).path(bus::unit_path(unit));
        builder.cache_properties(CacheProperties::No).build().await
    }
}

impl crate::systems::Connection for Systemd {
    type Error = Error;

    fn is_usable(&self) -> bool {
        !self.lost.load(Ordering::Relaxed) && !self.connection.is_closed()
    }
}

/// Returns the address of the user bus.
fn address() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("DBUS_SESSION_BUS_ADDRESS").or_else(|| Some(format!("unix:path={}/bus", variable("XDG_RUNTIME_DIR")?)))
}

/// Runs one call under its deadline and translates its failure.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| Error::of(what, error)),
        Err(_) => Err(Error::Deadline { what: what.to_owned(), after: limit }),
    }
}
