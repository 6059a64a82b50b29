//! HTTP as a client. The only user of reqwest and rustls.
//!
//! It owns the transport: trust, proxies, redirects, deadlines and size limits. The meaning of an answer is defined
//! elsewhere.
//!
//! Plain HTTP on loopback has a client of its own, without proxies and certificates: a machine without a certificate
//! store can still query its own servers. Everything else trusts the system's store (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR` are honoured) and, off loopback, uses the proxies named in the environment.

use super::{Hint, Retry};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const LARGEST_ANSWER: usize = 4 << 20;
const MOST_REDIRECTS: usize = 10;

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

/// The outcome of one short request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A status from 200 to 299, and the body.
    Ok(String),
    /// Any other status, and the body.
    Status(u16, String),
    /// No process listens on the port.
    Refused,
    /// The deadline passed.
    Deadline,
    /// The connection broke, or the answer is not HTTP.
    Broken(String),
}

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads a resource.
    Get,
    /// Acts, as the body describes.
    Post,
    /// Removes a resource.
    Delete,
}

/// A request that changes something.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: &'a str,
    /// The bearer token.
    pub token: Option<&'a str>,
    /// The body.
    pub body: Option<&'a serde_json::Value>,
}

/// Connections to HTTP servers, kept for reuse.
#[derive(Debug)]
pub struct Client {
    loopback: reqwest::Client,
    /// The client with the system's trust: for hosts off loopback, and for TLS on loopback, which never uses a proxy.
    /// Created on first use, because reading the system's certificates costs tens of milliseconds.
    trusting: Mutex<[Option<reqwest::Client>; 2]>,
}

impl Client {
    /// Returns a client without connections.
    pub fn new() -> Result<Self, Error> {
        // Fails only when a provider is installed already, which then stays in use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trust_nobody = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let loopback = builder()
            .no_proxy()
            .tls_backend_preconfigured(trust_nobody)
            .build()
            .map_err(|source| Error::Tls { source })?;
        Ok(Self { loopback, trusting: Mutex::default() })
    }

    /// Returns a client that sends every request to a server on a unix socket, whatever the address.
    pub fn over(socket: &std::path::Path) -> Result<Self, Error> {
        let loopback = builder().no_proxy().unix_socket(socket).build().map_err(|source| Error::Tls { source })?;
        Ok(Self { loopback, trusting: Mutex::default() })
    }

    /// Requests `url` once and reads the whole answer, all within `deadline`.
    pub async fn get(&self, url: &str, token: Option<&str>, deadline: Duration) -> Answer {
        let headers = [("accept", "application/json")];
        let asked = async {
            let mut incoming = self.ask(&address(url)?, token, &headers).await?;
            let Some(body) = incoming.rest().await? else {
                return Ok(Answer::Broken(format!("the answer is longer than {} MiB", LARGEST_ANSWER >> 20)));
            };
            let body = String::from_utf8_lossy(&body).into_owned();
            let status = incoming.status();
            Ok(if (200..300).contains(&status) { Answer::Ok(body) } else { Answer::Status(status, body) })
        };
        match tokio::time::timeout(deadline, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Error::Broken { source, .. })) if is_refused(&source) => Answer::Refused,
            Ok(Err(Error::Broken { source, .. })) if source.is_timeout() => Answer::Deadline,
            Ok(Err(Error::Deadline { .. })) | Err(_) => Answer::Deadline,
            Ok(Err(Error::Broken { source, .. } | Error::Tls { source })) => Answer::Broken(chain(&source)),
            Ok(Err(error @ (Error::Address { .. } | Error::Redirect { .. }))) => Answer::Broken(error.to_string()),
        }
    }

    /// Requests `url`, follows redirects, and returns once the head of the answer has arrived, all within `deadline`.
    /// The token goes only to the first host, because a hub redirects to hosts that are not its own.
    pub async fn download(
        &self,
        url: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        deadline: Duration,
    ) -> Result<Incoming, Error> {
        let followed = async {
            let mut address = address(url)?;
            let mut token = token;
            for _ in 0..=MOST_REDIRECTS {
                let incoming = self.ask(&address, token, headers).await?;
                let location =
                    incoming.header("location").filter(|_| matches!(incoming.status(), 301..=303 | 307 | 308));
                let Some(location) = location else { return Ok(incoming) };
                let next = address.join(location).ok().filter(|next| is_allowed(&address, next));
                let next = next.ok_or_else(|| Error::Redirect { url: incoming.url.clone(), to: shown(location) })?;
                token = token.filter(|_| next.origin() == address.origin());
                address = next;
            }
            Err(Error::Redirect { url: shown(url), to: shown(address.as_str()) })
        };
        let late = |_| Error::Deadline { url: shown(url), deadline };
        tokio::time::timeout(deadline, followed).await.map_err(late)?
    }

    /// Sends a command and returns once the head of the answer has arrived, within `deadline`. Redirects
    /// are not followed: a command goes to that server only.
    pub async fn send(&self, command: Command<'_>, deadline: Duration) -> Result<Incoming, Error> {
        let Command { method, url, token, body } = command;
        let sent = async {
            let mut request = self.request(method, &address(url)?)?;
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            answered(shown(url), request).await
        };
        let late = |_| Error::Deadline { url: shown(url), deadline };
        tokio::time::timeout(deadline, sent).await.map_err(late)?
    }

    /// Returns the size of `url` in bytes, if its server reports it within `deadline`.
    pub async fn size(&self, url: &str, token: Option<&str>, deadline: Duration) -> Option<u64> {
        // Not a HEAD request: hubs sign the addresses that they redirect to for GET alone.
        let answer = self.download(url, token, &[("range", "bytes=0-0")], deadline).await.ok()?;
        match answer.status() {
            206 => answer.header("content-range")?.rsplit_once('/')?.1.parse().ok(),
            200 => answer.header("content-length")?.parse().ok(),
            _ => None,
        }
    }

    async fn ask(
        &self,
        address: &reqwest::Url,
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Incoming, Error> {
        let mut request = self.request(Method::Get, address)?;
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answered(shown(address.as_str()), request).await
    }

    fn request(&self, method: Method, address: &reqwest::Url) -> Result<reqwest::RequestBuilder, Error> {
        let client = match (is_loopback(address), address.scheme()) {
            (true, "http") => self.loopback.clone(),
            (on_loopback, _) => self.trusting(on_loopback)?,
        };
        Ok(match method {
            Method::Get => client.get(address.clone()),
            Method::Post => client.post(address.clone()),
            Method::Delete => client.delete(address.clone()),
        })
    }

    fn trusting(&self, on_loopback: bool) -> Result<reqwest::Client, Error> {
        let mut clients = self.trusting.lock().unwrap_or_else(PoisonError::into_inner);
        let client = &mut clients[usize::from(on_loopback)];
        if let Some(client) = client {
            return Ok(client.clone());
        }
        let builder = if on_loopback { builder().no_proxy() } else { builder() };
        let made = builder.build().map_err(|source| Error::Tls { source })?;
        Ok(client.insert(made).clone())
    }
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub struct Incoming {
    url: String,
    response: reqwest::Response,
}

impl Incoming {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns whether the body says where it ends, rather than by the end of its connection (RFC 9112, 6.3).
    #[must_use]
    pub fn is_delimited(&self) -> bool {
        let framed = !matches!(self.response.version(), reqwest::Version::HTTP_10 | reqwest::Version::HTTP_11);
        let headers = self.response.headers();
        framed || headers.contains_key("content-length") || headers.contains_key("transfer-encoding")
    }

    /// Returns a header with a plain text value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Reads the rest of the body, unless it exceeds the size limit; the caller sets the deadline.
    pub async fn rest(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            body.extend_from_slice(&bytes);
            if body.len() > LARGEST_ANSWER {
                return Ok(None);
            }
        }
        Ok(Some(body))
    }

    /// Reads the next bytes; the caller sets the deadline.
    pub async fn chunk(&mut self) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, Error> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|source| Error::Broken { url: self.url.clone(), source: source.without_url() })
    }
}

/// Returns an address for display: without user, password, query and fragment, which may be secret.
#[must_use]
pub fn shown(url: &str) -> String {
    let Ok(mut address) = reqwest::Url::parse(url) else { return url.chars().take(200).collect() };
    // Fails only for addresses that cannot have a user.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_query(None);
    address.set_fragment(None);
    address.to_string()
}

async fn answered(url: String, request: reqwest::RequestBuilder) -> Result<Incoming, Error> {
    match request.send().await {
        Ok(response) => Ok(Incoming { url, response }),
        Err(source) => Err(Error::Broken { url, source: source.without_url() }),
    }
}

fn builder() -> reqwest::ClientBuilder {
    // Redirects are followed here and not by reqwest: each hop may need the other client, and must not receive the
    // token.
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_DEADLINE)
        .user_agent(concat!("llamero/", env!("CARGO_PKG_VERSION")))
}

fn address(url: &str) -> Result<reqwest::Url, Error> {
    let address = reqwest::Url::parse(url).ok().filter(|address| matches!(address.scheme(), "http" | "https"));
    address.ok_or_else(|| Error::Address { url: shown(url) })
}

fn is_allowed(from: &reqwest::Url, to: &reqwest::Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http")
}

fn is_loopback(address: &reqwest::Url) -> bool {
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn is_refused(error: &reqwest::Error) -> bool {
    let refused = |io: &io::Error| io.kind() == io::ErrorKind::ConnectionRefused;
    causes(error).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(refused))
}

/// Returns whether the connection failed because of the server's certificate.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
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
fn chain(error: &dyn std::error::Error) -> String {
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
    use super::{is_loopback, is_untrusted, shown};
    use std::io;

    #[test]
    fn a_certificate_that_is_not_trusted_is_found_among_the_causes() {
        let of = |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(is_untrusted(&of(rustls::CertificateError::UnknownIssuer.into())));
        assert!(!is_untrusted(&of(rustls::Error::DecryptError)));
    }

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        assert_eq!(shown("https://me:word@host.example/a?token=x#y"), "https://host.example/a");
    }

    #[test]
    fn loopback_is_distinguished_from_similar_names() {
        let is = |url: &str| is_loopback(&url.parse().expect("an address"));
        assert!(
            is("http://127.0.0.1:1/") && is("http://[::1]:1/") && is("http://localhost/") && is("http://127.9.9.9/")
        );
        assert!(!is("http://localhost.example/") && !is("http://192.168.1.1/") && !is("http://127.0.0.1.example/"));
    }
}
