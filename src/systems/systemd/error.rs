//! Failures of the manager, by what was attempted.

use crate::systems::{Hint, Retry};
use std::time::Duration;
use thiserror::Error;

/// A failure of the systemd user manager.
#[derive(Debug, Error)]
pub enum Error {
    /// No user manager could be reached.
    #[error("no systemd user manager answers at {tried}")]
    NoUserManager {
        /// The address that was tried.
        tried: String,
        /// The connection's error.
        #[source]
        source: Option<zbus::Error>,
    },
    /// The answer did not come in time.
    #[error("{what}: timed out after {} s", after.as_secs_f64())]
    Deadline {
        /// The attempted operation.
        what: String,
        /// The time waited.
        after: Duration,
    },
    /// There is no such unit.
    #[error("{what}: no such unit: {message}")]
    NoSuchUnit {
        /// The attempted operation.
        what: String,
        /// The manager's message.
        message: String,
    },
    /// The manager does not allow it.
    #[error("{what}: not allowed: {message}")]
    Denied {
        /// The attempted operation.
        what: String,
        /// The manager's message.
        message: String,
    },
    /// The unit is masked.
    #[error("{what}: {message}")]
    Masked {
        /// The attempted operation.
        what: String,
        /// The manager's message.
        message: String,
    },
    /// The unit's file has a setting that the manager does not take.
    #[error("{what}: {message}")]
    BadSetting {
        /// The attempted operation.
        what: String,
        /// The manager's message.
        message: String,
    },
    /// The manager refused.
    #[error("{what}: {message}")]
    Refused {
        /// The attempted operation.
        what: String,
        /// The manager's message.
        message: String,
    },
    /// The connection was lost, or the answer made no sense.
    #[error("{what}: the connection to the systemd user manager failed")]
    Connection {
        /// The attempted operation.
        what: String,
        /// The connection's error.
        #[source]
        source: zbus::Error,
    },
}

impl Error {
    /// Translates what the bus answered to an attempt to do `what`.
    pub(super) fn of(what: &str, error: zbus::Error) -> Self {
        let what = what.to_owned();
        let (name, message) = match &error {
            zbus::Error::MethodError(name, message, _) => (name.to_string(), message.clone().unwrap_or_default()),
            zbus::Error::FDO(inner) => match &**inner {
                zbus::fdo::Error::ZBus(_) => return Self::Connection { what, source: error },
                inner => (
                    zbus::DBusError::name(inner).to_string(),
                    zbus::DBusError::description(inner).unwrap_or_default().to_owned(),
                ),
            },
            _ => return Self::Connection { what, source: error },
        };
        // The last parts of D-Bus's names, and of systemd's in org.freedesktop.systemd1(5).
        match name.rsplit('.').next().unwrap_or_default() {
            "NoSuchUnit" => Self::NoSuchUnit { what, message },
            "AccessDenied" | "InteractiveAuthorizationRequired" | "AuthFailed" => Self::Denied { what, message },
            "Disconnected" | "NoReply" | "NoServer" | "NameHasNoOwner" | "ServiceUnknown" | "Timeout" | "TimedOut" => {
                Self::Connection { what, source: error }
            }
            "UnitMasked" => Self::Masked { what, message },
            "BadUnitSetting" => Self::BadSetting { what, message },
            _ => Self::Refused { what, message },
        }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoUserManager { .. } | Self::Connection { .. } => {
                "run as a logged-in user (`loginctl enable-linger USER` keeps the manager after logout), or say \
                 `runtime: process` in the manifest"
                    .to_owned()
            }
            Self::Deadline { .. } => "`systemctl --user list-jobs` shows what the manager waits for".to_owned(),
            Self::Masked { .. } => "`systemctl --user unmask UNIT` lets it start again".to_owned(),
            Self::BadSetting { .. } => "`systemd-analyze --user verify FILE` says which line is bad".to_owned(),
            Self::NoSuchUnit { .. } | Self::Denied { .. } | Self::Refused { .. } => return None,
        })
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Deadline { .. } | Self::Connection { .. } => Retry::Soon,
            Self::NoUserManager { .. }
            | Self::NoSuchUnit { .. }
            | Self::Denied { .. }
            | Self::Masked { .. }
            | Self::BadSetting { .. }
            | Self::Refused { .. } => Retry::Never,
        }
    }
}
