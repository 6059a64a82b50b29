//! References of one part of a stack to another, such as `${gateway.url}`: where the other is reached from here.

use super::build::Builder;
use super::providers::ports;
use super::server::is_isolated;
use crate::manifest::{Common, Network, Part, RuntimeName, Template, TemplatePiece};
use crate::resource::Note;

/// The address of a part of the stack.
struct Location {
    /// The scheme before the host.
    scheme: &'static str,
    /// Its port on the host, or a whole address of an external server.
    at: Result<u16, String>,
    /// The name of its container and its port there, where that has a network of its own.
    isolated: Option<(String, u16)>,
}

impl Builder<'_> {
    /// Returns a text with every reference replaced by the address that leads there for a reader that has a network of
    /// its own or has not.
    pub(super) fn spelled_out(&self, text: &Template, is_isolated: bool) -> Result<String, Note> {
        let piece = |piece: &TemplatePiece| match piece {
            TemplatePiece::Text(text) => Ok(text.clone()),
            TemplatePiece::Address(part) => self.address(part, is_isolated),
        };
        text.pieces().iter().map(piece).collect()
    }

    fn address(&self, part: &Part, is_isolated: bool) -> Result<String, Note> {
        let Some(place) = self.place(part) else {
            let note = Note::error("reference", format!("`${{{part}.url}}` refers to nothing of this stack"));
            return Err(note.hint(format!("there is {}", self.known().join(", "))));
        };
        let Location { scheme, at, isolated } = place;
        match (at, isolated, is_isolated) {
            (Err(address), _, _) => Ok(address),
            (Ok(port), _, false) => Ok(format!("{scheme}://127.0.0.1:{port}")),
            (Ok(_), Some((container, port)), true) => Ok(format!("{scheme}://{container}:{port}")),
            (Ok(_), None, true) => {
                let message =
                    format!("`${{{part}.url}}` listens on the host's loopback, which this container cannot reach");
                Err(Note::error("not-reachable", message).hint("write `network: host` for it"))
            }
        }
    }

    /// Returns everything that can be referred to.
    fn known(&self) -> Vec<String> {
        let manifest = self.manifest;
        let providers = manifest.providers.iter().map(|entry| Part::Provider(entry.name.value.clone()));
        let models = manifest.models.iter().map(|entry| Part::Model(entry.name.value.clone()));
        let services = manifest.services.iter().map(|entry| Part::Service(entry.name.value.clone()));
        let parts = [Part::Gateway, Part::Cache].into_iter().chain(providers).chain(models).chain(services);
        parts.filter(|part| self.place(part).is_some()).map(|part| format!("`${{{part}.url}}`")).collect()
    }

    fn place(&self, part: &Part) -> Option<Location> {
        match part {
            Part::Gateway => self.gateway(),
            Part::Cache => self.cache(),
            Part::Provider(name) => self.provider(name),
            Part::Model(name) => self.model(name),
            Part::Service(name) => self.service(name),
        }
    }

    fn gateway(&self) -> Option<Location> {
        let gateway = self.manifest.gateway.as_ref()?;
        let port = gateway.port.as_ref().map_or(gateway.engine.value.port(), |port| port.get());
        let isolated = self.isolated("gateway", gateway.common(), Network::Host, port);
        Some(Location { scheme: "http", at: Ok(port), isolated })
    }

    fn cache(&self) -> Option<Location> {
        let cache = self.manifest.cache.as_ref()?;
        let (default, scheme) = (cache.engine.value.port()?, cache.engine.value.protocol());
        let external = cache.runtime.as_ref().is_some_and(|it| it.value == RuntimeName::External);
        if let Some(endpoint) = cache.endpoint.as_ref().filter(|_| external) {
            return Some(Location { scheme, at: Err(endpoint.0.to_string()), isolated: None });
        }
        let port = cache.port.as_ref().map_or(default, |port| port.get());
        Some(Location { scheme, at: Ok(port), isolated: self.isolated("cache", cache.common(), Network::Host, port) })
    }

    fn provider(&self, name: &str) -> Option<Location> {
        let provider = self.manifest.providers.iter().find(|entry| entry.name.value == *name)?;
        if let Some(endpoint) = &provider.value.endpoint {
            let at = Err(endpoint.0.to_string());
            return Some(Location { scheme: "http", at, isolated: None });
        }
        // Of servers for one model each, each is a place of its own.
        let has_one_server = !provider.value.engine.value.models().has_a_server_each();
        let port = provider.value.port.as_ref().filter(|_| has_one_server)?.get();
        let isolated = self.isolated(name, provider.value.common(), Network::Host, port);
        Some(Location { scheme: "http", at: Ok(port), isolated })
    }

    fn model(&self, name: &str) -> Option<Location> {
        let manifest = self.manifest;
        let model = manifest.models.iter().find(|entry| entry.name.value == *name)?;
        let provider = &model.value.provider.value;
        let provider = manifest.providers.iter().find(|entry| entry.name.value == *provider)?;
        if provider.value.endpoint.is_some() || !provider.value.engine.value.models().has_a_server_each() {
            return self.provider(&provider.name.value);
        }
        let (_, port) = ports(manifest, provider).into_iter().find(|(it, _)| it.name.value == *name)?;
        let part =
            if *name == provider.name.value { name.to_owned() } else { format!("{}-{name}", provider.name.value) };
        let isolated = self.isolated(&part, provider.value.common(), Network::Host, port);
        Some(Location { scheme: "http", at: Ok(port), isolated })
    }

    fn service(&self, name: &str) -> Option<Location> {
        let service = self.manifest.services.iter().find(|entry| entry.name.value == *name)?;
        let port = &service.value.ports.first()?.value.0;
        let isolated = self.isolated(name, service.value.common(), Network::Bridge, port.container);
        Some(Location { scheme: "http", at: Ok(port.host), isolated })
    }

    /// Returns the name of a part's container and its port there, where that has a network of its own.
    fn isolated(&self, part: &str, common: Common<'_>, default: Network, port: u16) -> Option<(String, u16)> {
        is_isolated(common, default).then(|| (self.container_name(part, common), port))
    }
}
