//! The parts of a manifest that others run, and the cheapest question for each.

use super::facts::{Directories, reference};
use crate::manifest::{Cache, Manifest, Provider, RuntimeName, SecretSource};
use crate::resource::{Authorization, External, ExternalQuestion};

/// Returns every part that others run.
pub(super) fn externals(manifest: &Manifest, directories: &Directories) -> Vec<External> {
    let providers = manifest
        .providers
        .iter()
        .filter_map(|provider| of_provider(&provider.value, format!("providers.{}", provider.name.value), directories));
    providers.chain(manifest.cache.as_ref().and_then(|cache| of_cache(&cache.value, directories))).collect()
}

/// Returns a provider with an address of its own. The address given to the gateway is the one that is asked, so that a
/// wrong path shows too.
fn of_provider(provider: &Provider, role: String, directories: &Directories) -> Option<External> {
    let engine = provider.engine.value.0;
    let address = &provider.endpoint.as_ref()?.value.0;
    let versioned = engine.upstream(crate::resource::Mode::Chat).versioned;
    let base = if versioned { address.with_version().to_string() } else { address.to_string() };
    let url = format!("{}{}", base.trim_end_matches('/'), engine.external_path());
    let authorization = provider.api_key.as_ref().map(|key| secret(key, directories));
    Some(External { role, address: address.to_string(), question: ExternalQuestion::Http { url, authorization } })
}

fn of_cache(cache: &Cache, directories: &Directories) -> Option<External> {
    cache.runtime.as_ref().filter(|runtime| runtime.value == RuntimeName::External)?;
    let endpoint = &cache.endpoint.as_ref()?.value.0;
    Some(External {
        role: "cache".to_owned(),
        address: endpoint.to_string(),
        question: ExternalQuestion::Redis {
            host: endpoint.host.bare(),
            port: endpoint.port.get(),
            tls: endpoint.tls,
            password: cache.password.as_ref().map(|password| secret(password, directories)),
        },
    })
}

fn secret(source: &SecretSource, directories: &Directories) -> Authorization {
    Authorization(reference(source, directories))
}
