//! References of one part of a stack to another, such as `${gateway.url}`: where the other is reached from here.

use super::build::Builder;
use super::container::is_isolated;
use crate::manifest::{Common, Network, RuntimeName};
use crate::resource::Note;

/// Where a part of the stack is reached.
struct Location {
    /// What stands before the host.
    scheme: &'static str,
    /// Its port on the host, or a whole address of a server that somebody else runs.
    at: Result<u16, String>,
    /// The name of its container and its port there, where that has a network of its own.
    isolated: Option<(String, u16)>,
}

impl Builder<'_> {
    /// Returns a text with every reference spelled out for a reader that has a network of its own or has not. `$$`
    /// stands for a dollar sign.
    pub(super) fn spelled_out(&self, text: &str, reader_is_apart: bool) -> Result<String, Note> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            let (before, after) = rest.split_at(start);
            result.push_str(before);
            if let Some(escaped) = after.strip_prefix("$${") {
                result.push_str("${");
                rest = escaped;
            } else if let Some((name, more)) = after.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
                result.push_str(&self.address(name, reader_is_apart)?);
                rest = more;
            } else {
                result.push('$');
                rest = &after[1..];
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn address(&self, name: &str, reader_is_apart: bool) -> Result<String, Note> {
        let Some(place) = name.strip_suffix(".url").and_then(|part| self.place(part)) else {
            let note = Note::error("reference", format!("`${{{name}}}` refers to nothing of this stack"));
            return Err(note.hint(format!("there is {}; `$${{` stands for itself", self.known().join(", "))));
        };
        let Location { scheme, at, isolated } = place;
        match (at, isolated, reader_is_apart) {
            (Err(address), _, _) => Ok(address),
            (Ok(port), _, false) => Ok(format!("{scheme}://127.0.0.1:{port}")),
            (Ok(_), Some((container, port)), true) => Ok(format!("{scheme}://{container}:{port}")),
            (Ok(_), None, true) => {
                let message =
                    format!("`${{{name}}}` listens on the host's loopback, which this container cannot reach");
                Err(Note::error("not-reachable", message).hint("write `network: host` for it"))
            }
        }
    }

    /// Returns everything that can be referred to.
    fn known(&self) -> Vec<String> {
        let manifest = self.manifest;
        let providers = manifest.providers.iter().map(|entry| format!("providers.{}", entry.name.value));
        let models = manifest.models.iter().map(|entry| format!("models.{}", entry.name.value));
        let services = manifest.services.iter().map(|entry| format!("services.{}", entry.name.value));
        let parts = ["gateway", "cache"].map(str::to_owned).into_iter().chain(providers).chain(models).chain(services);
        parts.filter(|part| self.place(part).is_some()).map(|part| format!("`${{{part}.url}}`")).collect()
    }

    fn place(&self, part: &str) -> Option<Location> {
        let manifest = self.manifest;
        let isolated = |part: &str, common: Common<'_>, default, port| {
            is_isolated(common, default).then(|| (self.container_name(part, common), port))
        };
        let (kind, name) = part.split_once('.').unwrap_or((part, ""));
        Some(match kind {
            "gateway" if name.is_empty() => {
                let gateway = manifest.gateway.as_ref()?;
                let port = gateway.port.as_ref().map_or(gateway.engine.value.port(), |port| port.get());
                Location {
                    scheme: "http",
                    at: Ok(port),
                    isolated: isolated(kind, gateway.common(), Network::Host, port),
                }
            }
            "cache" if name.is_empty() => {
                let cache = manifest.cache.as_ref()?;
                let default = cache.engine.value.port()?;
                let external = cache.runtime.as_ref().is_some_and(|it| it.value == RuntimeName::External);
                if let Some(endpoint) = cache.endpoint.as_ref().filter(|_| external) {
                    return Some(Location { scheme: "redis", at: Err(endpoint.0.to_string()), isolated: None });
                }
                let port = cache.port.as_ref().map_or(default, |port| port.get());
                Location {
                    scheme: "redis",
                    at: Ok(port),
                    isolated: isolated(kind, cache.common(), Network::Host, port),
                }
            }
            "providers" => {
                let provider = manifest.providers.iter().find(|entry| entry.name.value == name)?;
                if let Some(endpoint) = &provider.value.endpoint {
                    let at = Err(endpoint.0.to_string());
                    return Some(Location { scheme: "http", at, isolated: None });
                }
                // Of servers for one model each, each is a place of its own.
                let port = provider
                    .value
                    .port
                    .as_ref()
                    .filter(|_| !provider.value.engine.value.models().has_a_server_each())?
                    .get();
                let isolated = isolated(name, provider.value.common(), Network::Host, port);
                Location { scheme: "http", at: Ok(port), isolated }
            }
            "models" => {
                let model = manifest.models.iter().find(|entry| entry.name.value == name)?;
                let provider = &model.value.provider.value;
                let provider = manifest.providers.iter().find(|entry| entry.name.value == *provider)?;
                if provider.value.endpoint.is_some() || !provider.value.engine.value.models().has_a_server_each() {
                    return self.place(&format!("providers.{}", provider.name.value));
                }
                let (_, port) =
                    super::providers::ports(manifest, provider).into_iter().find(|(it, _)| it.name.value == name)?;
                let part = if name == provider.name.value {
                    name.to_owned()
                } else {
                    format!("{}-{name}", provider.name.value)
                };
                Location {
                    scheme: "http",
                    at: Ok(port),
                    isolated: isolated(&part, provider.value.common(), Network::Host, port),
                }
            }
            "services" => {
                let service = manifest.services.iter().find(|entry| entry.name.value == name)?;
                let port = &service.value.ports.first()?.value.0;
                let isolated = isolated(name, service.value.common(), Network::Bridge, port.container);
                Location { scheme: "http", at: Ok(port.host), isolated }
            }
            _ => return None,
        })
    }
}
