//! Parts of a stack that others run: they are asked whether they answer, and never changed.

use super::probe::Authorization;
use super::secret::SecretReference;
use serde::{Deserialize, Serialize};

/// A server that others run and that the stack depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// The part of the manifest that it is, such as `providers.openai`.
    pub role: String,
    /// Its address, as messages show it.
    pub address: String,
    /// The question that it must answer; none costs anything or loads a model.
    pub question: ExternalQuestion,
}

impl External {
    /// Returns the secret that the question needs, if it needs one.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretReference> {
        let authorization = match &self.question {
            ExternalQuestion::Http { authorization, .. } => authorization,
            ExternalQuestion::Redis { password, .. } => password,
        };
        authorization.as_ref().map(|authorization| &authorization.0)
    }
}

/// The cheapest question that shows whether a server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalQuestion {
    /// `GET` of an address. Any answer but a server error or a rejected key shows that it works.
    Http {
        /// The full address.
        url: String,
        /// The key that the gateway would send.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authorization: Option<Authorization>,
    },
    /// `PING` over the protocol of Redis.
    Redis {
        /// The host, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// True if it is reached over TLS.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tls: bool,
        /// The password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Authorization>,
    },
}
