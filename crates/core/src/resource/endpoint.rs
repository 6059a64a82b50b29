//! Addresses of servers: each text is parsed once, whole, and what is left over is refused. Nothing is assumed because
//! something was not understood.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

/// The reason why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAnAddress {
    /// A user or password stands in it. The text is not repeated: it is a secret.
    HasSecret,
    /// It is malformed.
    Malformed(String),
}

impl NotAnAddress {
    fn new(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }
}

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasSecret => f.write_str("a user or password never stands in an address"),
            Self::Malformed(why) => f.write_str(why),
        }
    }
}

/// A port, from 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port of Redis when none is named.
    pub const REDIS: Self = Self(NonZeroU16::new(6379).expect("it is not zero"));

    /// Returns the port of this number, if there is one.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Self)
    }

    /// Returns its number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.then(|| text.parse().ok()).flatten().and_then(Self::new);
        port.ok_or_else(|| format!("`{text}` is not a port"))
    }
}

/// The host of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An IPv4 address, or an IPv6 address in brackets.
    Ip(IpAddr),
}

impl Host {
    fn parse(text: &str) -> Result<Self, NotAnAddress> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            let address = address.ok_or_else(|| NotAnAddress::new(format!("`{text}` is not an IPv6 address")))?;
            return Ok(Self::Ip(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        if text.is_empty() {
            return Err(NotAnAddress::new("it names no host"));
        }
        let is_label = |label: &str| {
            let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            letters && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        };
        // A last label of digits would be read as an address by some, and as a name by others.
        let numeric = text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if text.len() > 253 || numeric || !text.split('.').all(is_label) {
            return Err(NotAnAddress::new(format!("`{text}` is not a host")));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }

    /// Returns whether it is this machine's loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Ip(address) => address.is_loopback(),
        }
    }

    /// Returns the host for a program that takes the port separately: without brackets.
    #[must_use]
    pub fn bare(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Ip(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Reads `host` or `host:port`.
fn authority(text: &str) -> Result<(Host, Option<Port>), NotAnAddress> {
    // The colons of an IPv6 address stand in its brackets.
    let end = text.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match text[end..].split_once(':') {
        Some((between, port)) => (&text[..end + between.len()], Some(port)),
        None => (text, None),
    };
    let port = port.map(str::parse).transpose().map_err(NotAnAddress::Malformed)?;
    Ok((Host::parse(host)?, port))
}

/// Splits what follows a scheme into the authority and the rest, and refuses a user or password.
fn split(rest: &str) -> Result<(&str, &str), NotAnAddress> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') { Err(NotAnAddress::HasSecret) } else { Ok((authority, path)) }
}

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
        let (authority, rest) = split(rest)?;
        let (host, port) = self::authority(authority)?;
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

/// The address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisEndpoint {
    /// True if it is spoken to over TLS.
    pub tls: bool,
    /// Its host.
    pub host: Host,
    /// Its port; 6379 when none is named.
    pub port: Port,
    /// The number of its database, where one is named.
    pub database: Option<u16>,
}

impl RedisEndpoint {
    /// Reads `host[:port]`, or `redis://host[:port][/database]`, or the same with `rediss`.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let (tls, rest, with_scheme) = if let Some(rest) = text.strip_prefix("redis://") {
            (false, rest, true)
        } else if let Some(rest) = text.strip_prefix("rediss://") {
            (true, rest, true)
        } else if text.contains('@') {
            return Err(NotAnAddress::HasSecret);
        } else if let Some((scheme, _)) = text.split_once("://") {
            return Err(NotAnAddress::new(format!("`{scheme}://` is not how a Redis is spoken to")));
        } else {
            (false, text, false)
        };
        let (authority, rest) = split(rest)?;
        let (host, port) = self::authority(authority)?;
        let database = match rest.strip_prefix('/') {
            Some("") if with_scheme => None,
            None if rest.is_empty() => None,
            Some(number) if with_scheme && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(number.parse().map_err(|_| NotAnAddress::new(format!("there is no database {number}")))?)
            }
            _ => return Err(NotAnAddress::new(format!("nothing is known of `{rest}` behind the host"))),
        };
        Ok(Self { tls, host, port: port.unwrap_or(Port::REDIS), database })
    }
}

impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis{}://{}:{}", if self.tls { "s" } else { "" }, self.host, self.port)?;
        self.database.map_or(Ok(()), |number| write!(f, "/{number}"))
    }
}

/// Returns whether a user and a password stand before a host in a text, as in `scheme://user:password@host`.
#[must_use]
pub fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let authority = rest.split(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).next().unwrap_or_default();
        let userinfo = authority.rsplit_once('@').and_then(|(userinfo, _)| userinfo.split_once(':'));
        userinfo.is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
    })
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, NotAnAddress, Port, RedisEndpoint, has_password};

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
    fn a_redis_is_read_whole() {
        for (text, shown) in [
            ("redis.lan", "redis://redis.lan:6379"),
            ("redis.lan:6380", "redis://redis.lan:6380"),
            ("10.0.0.2", "redis://10.0.0.2:6379"),
            ("[::1]:6380", "redis://[::1]:6380"),
            ("redis://h", "redis://h:6379"),
            ("redis://h/", "redis://h:6379"),
            ("redis://h/0", "redis://h:6379/0"),
            ("rediss://h:6380/2", "rediss://h:6380/2"),
        ] {
            let read = RedisEndpoint::parse(text);
            assert_eq!(read.as_ref().map(ToString::to_string), Ok(shown.to_owned()));
            assert_eq!(RedisEndpoint::parse(shown), read, "{shown}");
        }
        for text in [
            "",
            ":6379",
            "h:",
            "h:x",
            "h:6379x",
            "h:6379/1",
            "h/1",
            "::1",
            "redis:h",
            "redis://",
            "redis://h/x",
            "redis://h/1/2",
            "redis://h/99999",
            "redis://h/-1",
            "redis://h?db=1",
            "http://h:6379",
            "unix:///run/redis",
            "/run/redis",
            "h,i",
            "h:1,i:2",
        ] {
            assert!(matches!(RedisEndpoint::parse(text), Err(NotAnAddress::Malformed(_))), "{text}");
        }
        for text in ["redis://:p@h", "rediss://u:p@h:1/2", "u:p@h:1", ":p@h", "p@h"] {
            assert_eq!(RedisEndpoint::parse(text), Err(NotAnAddress::HasSecret), "{text}");
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

    #[test]
    fn a_port_is_digits_from_1_on() {
        for text in ["", "0", "65536", "+1", "-1", " 1", "1 ", "1e3", "99999999999999999999"] {
            assert!(text.parse::<Port>().is_err(), "{text:?}");
        }
        assert_eq!(["1", "65535", "080"].map(|text| text.parse().map(Port::get)), [Ok(1), Ok(65535), Ok(80)]);
    }

    #[test]
    fn a_password_is_seen_wherever_it_stands() {
        for text in ["redis://:p@h", "--url=postgres://u:p@h/d", "git+https://u:p@h/x.git", "a http://b c ftp://u:p@h"]
        {
            assert!(has_password(text), "{text}");
        }
        for text in
            ["ssh://git@h", "http://h/a:b@c", "u:p@h", "http://u:@h", "http://h:80", "postgres://u:${PASSWORD}@h"]
        {
            assert!(!has_password(text), "{text}");
        }
    }
}
