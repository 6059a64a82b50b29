//! Parts of addresses: hosts, ports, and the reason why a text is none. Each text is parsed once, whole, and what is left
//! over is refused. Nothing is assumed because something was not understood.

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
    pub(super) fn new(why: impl Into<String>) -> Self {
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
pub(super) fn authority(text: &str) -> Result<(Host, Option<Port>), NotAnAddress> {
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
pub(super) fn split(rest: &str) -> Result<(&str, &str), NotAnAddress> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') { Err(NotAnAddress::HasSecret) } else { Ok((authority, path)) }
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
    use super::{Port, has_password};

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
