//! Addresses of a Redis.

use super::address::{self, Host, NotAnAddress, Port};
use std::fmt;

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
        let (authority, rest) = address::split(rest)?;
        let (host, port) = address::authority(authority)?;
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

#[cfg(test)]
mod tests {
    use super::{NotAnAddress, RedisEndpoint};

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
}
