//! systemd's login manager, as org.freedesktop.login1(5) has it: whether a user's manager outlives the user's sessions.

use std::time::Duration;
use zbus::{OwnedVariant, proxy};

/// The longest wait for it: nothing depends on its answer.
const ANSWER: Duration = Duration::from_secs(2);

#[proxy(interface = "org.freedesktop.DBus.Properties", default_service = "org.freedesktop.login1")]
trait Properties {
    #[zbus(name = "Get")]
    fn one(&self, interface: &str, name: &str) -> zbus::Result<OwnedVariant>;
}

/// A connection to the login manager.
#[derive(Debug, Clone)]
pub struct Logind {
    connection: zbus::Connection,
}

impl crate::systems::Connection for Logind {
    type Error = zbus::Error;

    fn is_usable(&self) -> bool {
        !self.connection.is_closed()
    }
}

impl Logind {
    /// Connects over the system bus.
    pub async fn connect() -> Result<Self, zbus::Error> {
        let late = |_| zbus::Error::Failure(format!("no system bus answers within {} s", ANSWER.as_secs()));
        let connection = tokio::time::timeout(ANSWER, zbus::Connection::system()).await.map_err(late)??;
        Ok(Self::over(connection))
    }

    /// Uses an existing connection.
    #[must_use]
    pub const fn over(connection: zbus::Connection) -> Self {
        Self { connection }
    }

    /// Returns whether a user's manager runs without a session of the user; `None` where that is not known.
    pub async fn lingers(&self, user: u32) -> Option<bool> {
        let asked = async {
            let path = format!("/org/freedesktop/login1/user/_{user}");
            let properties = PropertiesProxy::builder(&self.connection).path(path).build().await?;
            bool::try_from(properties.one("org.freedesktop.login1.User", "Linger").await?)
        };
        tokio::time::timeout(ANSWER, asked).await.ok()?.ok()
    }
}
