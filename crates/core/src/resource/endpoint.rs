//! Addresses of servers that speak HTTP.

use super::address::{self, Host, NotAnAddress, Port};
use std::fmt;

/// The address of a server that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    secure: bool,
    host: Host,
    port: Option<Port>,
    /// Empty, or segments that each begin with a slash.
    path: String,
}

impl Endpoint {
    /// Reads `http://host[:port][/path]` or the same with `https`.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let (mut endpoint, path) = Self::split(text)?;
        if path.contains(['?', '#']) {
            return Err(NotAnAddress::new("it has a query or a fragment"));
        }
        let path = path.trim_end_matches('/');
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
        if !path.bytes().all(letter) || path.split('/').any(|part| matches!(part, "." | "..")) || path.contains("//") {
            return Err(NotAnAddress::new(format!("`{path}` is not a path")));
        }
        path.clone_into(&mut endpoint.path);
        Ok(endpoint)
    }

    /// Reads the server of the address of a download; returns it with the path, query and fragment that are left.
    pub fn split(text: &str) -> Result<(Self, &str), NotAnAddress> {
        let (secure, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if text.contains('@') {
            return Err(NotAnAddress::HasSecret);
        } else {
            return Err(NotAnAddress::new("it must begin with `http://` or `https://`"));
        };
        let (authority, rest) = address::split(rest)?;
        let (host, port) = address::authority(authority)?;
        Ok((Self { secure, host, port, path: String::new() }, rest))
    }

    /// Returns its host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Returns its port: the one that is named, or else that of its scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.map_or(if self.secure { 443 } else { 80 }, Port::get)
    }

    /// Returns it with `/v1` at its end.
    #[must_use]
    pub fn with_version(&self) -> Self {
        let path = if self.path.ends_with("/v1") { self.path.clone() } else { format!("{}/v1", self.path) };
        Self { path, ..self.clone() }
    }

    /// Returns what two spellings of one server have in common: `localhost` is 127.0.0.1, and a port is always named.
    #[must_use]
    pub fn identity(&self) -> String {
        let host = if self.host.is_loopback() { "127.0.0.1".to_owned() } else { self.host.to_string() };
        format!("{}{host}:{}{}", if self.secure { "https://" } else { "http://" }, self.port(), self.path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.secure { "s" } else { "" }, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, NotAnAddress};

    #[test]
    fn addresses_are_read_whole() {
        for (text, shown) in [
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
            ("https://API.openai.com/v1/", "https://api.openai.com/v1"),
            ("http://[::1]:1/", "http://[::1]:1"),
            ("http://ollama_1", "http://ollama_1"),
            ("http://h/a:b@c/%20", "http://h/a:b@c/%20"),
        ] {
            assert_eq!(Endpoint::parse(text).map(|endpoint| endpoint.to_string()), Ok(shown.to_owned()));
        }
        for text in [
            "",
            "h",
            "h:1",
            "http:/h",
            "http://",
            "http:///v1",
            "HTTP://h",
            "ftp://h",
            "http://h:",
            "http://h:0",
            "http://h:+1",
            "http://h:65536",
            "http://h:1:2",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://[::1]:",
            "http://127.1",
            "http://300.1.1.1",
            "http://a b",
            "http://-a",
            "http://a..b",
            "http://a.",
            "http://h?a=b",
            "http://h/#a",
            "http://h/a b",
            "http://h/../a",
            "http://h//a",
            "http://h\\a",
            "http://ä",
        ] {
            assert!(matches!(Endpoint::parse(text), Err(NotAnAddress::Malformed(_))), "{text}");
        }
        for text in ["http://u@h", "https://u:p@h/v1", "u:p@h", "http:u:p@h"] {
            assert_eq!(Endpoint::parse(text), Err(NotAnAddress::HasSecret), "{text}");
        }
    }

    #[test]
    fn spellings_of_one_server_have_one_identity() {
        let identity = |text: &str| Endpoint::parse(text).expect("an address").identity();
        for text in ["http://localhost", "http://LOCALHOST:80/", "http://127.0.0.1", "http://[::1]:80"] {
            assert_eq!(identity(text), "http://127.0.0.1:80");
        }
        assert_ne!(identity("https://localhost"), identity("http://localhost"));
        assert_ne!(identity("http://h/a"), identity("http://h/b"));
    }
}
