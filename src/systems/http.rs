//! HTTP as a client: one connection pool, the system's certificates, a deadline on every call.

use super::secrets::Secret;
use std::time::Duration;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest wait for the answer to a question.
const ASK: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const LIMIT: usize = 8 << 20;

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An answer came, with its status and text.
    Status(u16, String),
    /// Nobody listens.
    Refused,
    /// No answer came in time.
    Deadline,
    /// The connection broke, or what came was no HTTP.
    Broken(String),
}

/// A client of all HTTP servers.
#[derive(Debug, Clone)]
pub struct Client {
    /// For this machine: no proxy, no redirects.
    local: reqwest::Client,
    /// For the world.
    pub(super) remote: reqwest::Client,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP")]
pub struct Error(#[from] reqwest::Error);

impl super::Hint for Error {}

impl Client {
    /// Returns a client. Certificates are the system's, or those of `SSL_CERT_FILE`.
    pub fn new() -> Result<Self, Error> {
        // The second call of a process finds the provider in place.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || reqwest::Client::builder().connect_timeout(CONNECT).user_agent("llamero");
        let local = builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(ASK).build()?;
        Ok(Self { local, remote: builder().build()? })
    }

    /// Asks a server on this machine.
    pub async fn ask(&self, url: &str, token: Option<&Secret>) -> Answer {
        let mut request = self.local.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => failed(&error),
        }
    }

    /// Returns the size in bytes of what an address would give, where its server tells within `deadline`.
    pub async fn size(&self, url: &str, token: Option<&Secret>, deadline: Duration) -> Option<u64> {
        let mut request = self.remote.head(url).timeout(deadline);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let response = request.send().await.ok().filter(|response| response.status().is_success())?;
        // The body of an answer to HEAD is empty, so its length is in the header alone.
        response.headers().get(reqwest::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

async fn read(mut response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= LIMIT => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => return Answer::Broken(format!("the answer is larger than {LIMIT} bytes")),
            Ok(None) => return Answer::Status(status, String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => return failed(&error),
        }
    }
}

fn failed(error: &reqwest::Error) -> Answer {
    if error.is_timeout() {
        return Answer::Deadline;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_connect() && cause.to_string().contains("refused") {
        return Answer::Refused;
    }
    Answer::Broken(cause.to_string())
}
