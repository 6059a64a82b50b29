//! The client: its connections, its trust, and each request under its deadline.

use super::error::{Error, chain, is_refused};
use super::incoming::{Incoming, LARGEST_ANSWER, answered, shown};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const MOST_REDIRECTS: usize = 10;

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

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_is_distinguished_from_similar_names() {
        let is = |url: &str| is_loopback(&url.parse().expect("an address"));
        assert!(
            is("http://127.0.0.1:1/") && is("http://[::1]:1/") && is("http://localhost/") && is("http://127.9.9.9/")
        );
        assert!(!is("http://localhost.example/") && !is("http://192.168.1.1/") && !is("http://127.0.0.1.example/"));
    }
}
