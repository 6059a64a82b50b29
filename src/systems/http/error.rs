//! A failure to get an answer, and what it says of its causes.

use crate::systems::{Hint, Retry};
use std::io;
use std::time::Duration;

/// A failure to get an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No client can be made, as a rule because the system has no certificates.
    #[error("cannot prepare TLS")]
    Tls {
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The address is invalid.
    #[error("`{url}` is not an http or https address")]
    Address {
        /// The address.
        url: String,
    },
    /// A redirect loops, leads nowhere, or leads from a secure address to an insecure one.
    #[error("{url} redirects to {to}, which is not followed")]
    Redirect {
        /// The address that redirects, without user, password and query.
        url: String,
        /// The target of the redirect.
        to: String,
    },
    /// The connection failed.
    #[error("no answer from {url}")]
    Broken {
        /// The address, without user, password and query.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The deadline passed.
    #[error("no answer from {url} within {} s", deadline.as_secs_f32())]
    Deadline {
        /// The address, without user, password and query.
        url: String,
        /// The time waited.
        deadline: Duration,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Tls { .. } => {
                Some("install the package `ca-certificates`, or point `SSL_CERT_FILE` at a bundle".to_owned())
            }
            Self::Broken { source, .. } if is_untrusted(source) => Some(
                "the server's certificate is not trusted here; behind a company proxy, add its authority to the system's store or set `SSL_CERT_FILE`"
                    .to_owned(),
            ),
            Self::Address { .. } | Self::Redirect { .. } | Self::Broken { .. } | Self::Deadline { .. } => None,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Broken { source, .. } if is_untrusted(source) => Retry::Never,
            Self::Broken { .. } | Self::Deadline { .. } => Retry::Soon,
            Self::Tls { .. } | Self::Address { .. } | Self::Redirect { .. } => Retry::Never,
        }
    }
}

pub(super) fn is_refused(error: &reqwest::Error) -> bool {
    let refused = |io: &io::Error| io.kind() == io::ErrorKind::ConnectionRefused;
    causes(error).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(refused))
}

/// Returns whether the connection failed because of the server's certificate.
pub(super) fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// Returns an error and its causes, also those that an error of input or output wraps.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source())
    })
}

/// Writes an error and its causes in one line: reqwest's own message states only that a request failed.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_untrusted;
    use std::io;

    #[test]
    fn a_certificate_that_is_not_trusted_is_found_among_the_causes() {
        let of = |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(is_untrusted(&of(rustls::CertificateError::UnknownIssuer.into())));
        assert!(!is_untrusted(&of(rustls::Error::DecryptError)));
    }
}
