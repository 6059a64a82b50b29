//! The ports of servers that have one model each.

use crate::manifest::{Entry, Manifest, Model, Provider};
use crate::resource::Origin;

/// Returns the models of a provider that has a server for each of them, with the port of each server.
pub(in crate::resolve) fn ports<'a>(
    manifest: &'a Manifest,
    provider: &Entry<Provider>,
) -> Vec<(&'a Entry<Model>, u16)> {
    let Some(first) = provider.value.port.as_ref().map(|port| port.get()) else { return Vec::new() };
    let mut next = u32::from(first);
    let mut take = || {
        next += 1;
        u16::try_from(next - 1).unwrap_or(u16::MAX)
    };
    let models = manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    models.map(|model| (model, model.value.port.as_ref().map_or_else(&mut take, |port| port.get()))).collect()
}

/// Returns the setting that the port of a model's own server comes from.
pub(super) fn port_origin(provider: &Entry<Provider>, model: &Entry<Model>) -> Option<Origin> {
    let own = model.value.port.as_ref().map(|port| (format!("models.{}.port", model.name.value), port));
    let first = || Some((format!("providers.{}.port", provider.name.value), provider.value.port.as_ref()?));
    own.or_else(first).map(|(path, port)| Origin::new(path, port.value))
}
