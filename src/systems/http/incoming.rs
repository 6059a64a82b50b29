//! An answer as it comes in.

use super::error::Error;

/// The largest body that is read whole, in bytes.
pub(super) const LARGEST_ANSWER: usize = 4 << 20;

/// An answer whose body has not been read.
#[derive(Debug)]
pub struct Incoming {
    pub(super) url: String,
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

pub(super) async fn answered(url: String, request: reqwest::RequestBuilder) -> Result<Incoming, Error> {
    match request.send().await {
        Ok(response) => Ok(Incoming { url, response }),
        Err(source) => Err(Error::Broken { url, source: source.without_url() }),
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

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        assert_eq!(shown("https://me:word@host.example/a?token=x#y"), "https://host.example/a");
    }
}
