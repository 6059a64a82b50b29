//! Addresses and ports of a manifest, parsed into their types during decoding.

use super::suggest::looks_secret;
use super::values::SECRET_IN_CLEAR;
use crate::resource::{Endpoint, NotAnAddress, Port, Protocol, Publish, RedisEndpoint};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number)
            .ok_or_else(|| de::Error::custom(format!("{number} is not a port: it must be from 1 to 65535")))
    }
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 65535 })
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident($inner:ty), $parse:path, $kind:literal, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(&text).map(Self).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $kind, "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

address! {
    /// The address of an HTTP server: `http://host[:port][/path]`, or the same with `https`.
    HttpAddress(Endpoint), http, "string", "^https?://[^@?#\\s]+$", "http://127.0.0.1:11434"
}

address! {
    /// The address of a Redis server: `host[:port]`, or `redis://host[:port][/database]`; `rediss` uses TLS.
    RedisAddress(RedisEndpoint), redis, "string", "^(rediss?://)?[^@?#\\s]+$", "redis.lan:6379"
}

fn http(text: &str) -> Result<Endpoint, String> {
    let hint = "use an address such as `http://127.0.0.1:11434`";
    Endpoint::parse(text).map_err(|why| message(text, &why, "api_key", hint))
}

fn redis(text: &str) -> Result<RedisEndpoint, String> {
    let hint = "use `host`, `host:port` or `redis://host:port/database`; `rediss://` uses TLS";
    RedisEndpoint::parse(text).map_err(|why| message(text, &why, "password", hint))
}

fn message(text: &str, why: &NotAnAddress, field: &str, hint: &str) -> String {
    let query = text.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let named = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| looks_secret(name));
    if *why == NotAnAddress::HasSecret || query.split(['&', '#']).any(named) {
        return format!(
            "{SECRET_IN_CLEAR}\nremove it from the address and set `{field}: {{env: NAME}}` or `{{file: PATH}}`"
        );
    }
    format!("`{text}` is not an address: {why}\n{hint}")
}

/// A port that a service listens on: one number, or `[ADDRESS:]HOST:CONTAINER` for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort(pub Publish);

impl ServicePort {
    /// Returns whether the container's port differs from the host's.
    #[must_use]
    pub const fn is_moved(&self) -> bool {
        self.0.host != self.0.container
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, ports) = match text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((address, ports)) => (Some(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)), ports),
            None => match text.split_once(':').filter(|(_, rest)| rest.contains(':')) {
                Some((address, ports)) => (Some(IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)), ports),
                None => (None, text),
            },
        };
        let (host, container) = ports.split_once(':').unwrap_or((ports, ports));
        if address.is_some() && !ports.contains(':') {
            return None;
        }
        let port = |text: &str| text.parse::<Port>().ok().map(Port::get);
        Some(Self(Publish {
            address: address.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            host: port(host)?,
            container: port(container)?,
            protocol: Protocol::Tcp,
        }))
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Publish { address, host, container, .. } = &self.0;
        if *address != IpAddr::from(Ipv4Addr::LOCALHOST) {
            write!(f, "{}:{container}", SocketAddr::new(*address, *host))
        } else if self.is_moved() {
            write!(f, "{host}:{container}")
        } else {
            write!(f, "{host}")
        }
    }
}

impl<'de> Deserialize<'de> for ServicePort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hint = "use a number, or `\"3000:8080\"` for a container";
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not a port\n{hint}")))
    }
}

impl JsonSchema for ServicePort {
    fn schema_name() -> Cow<'static, str> {
        "ServicePort".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^((([0-9.]+|\\[[0-9a-fA-F:.]+\\]):)?[0-9]+:)?[0-9]+$",
            "examples": [3000, "3000:8080"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ServicePort;

    #[test]
    fn ports_of_a_service_are_read_whole() {
        let shown = |text: &str| {
            ServicePort::parse(text)
                .map(|ServicePort(port)| format!("{} {} {}", port.address, port.host, port.container))
        };
        for (text, expected) in [
            ("3000", "127.0.0.1 3000 3000"),
            ("3000:8080", "127.0.0.1 3000 8080"),
            ("0.0.0.0:3000:8080", "0.0.0.0 3000 8080"),
            ("[::1]:3000:8080", "::1 3000 8080"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected));
        }
        for text in ["3000", "3000:8080", "0.0.0.0:3000:3000", "[::1]:3000:8080"] {
            assert_eq!(ServicePort::parse(text).map(|port| port.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "0",
            ":",
            "3000:",
            ":3000",
            "3000:0",
            "+1",
            "1:2:3:4",
            "x:1:2",
            "1.2.3:1:2",
            "127.0.0.1:1",
            "::1",
            "[::1]:1",
            "[::1]1:2",
            "1:2/udp",
            "70000",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
