//! The servers and routes of a provider, by the models that its engine serves.

use super::each::each;
use super::pulled;
use super::route::external;
use crate::engines::{Models, Route};
use crate::manifest::{Entry, Provider, RuntimeName};
use crate::resolve::build::Builder;

/// Adds the servers of a provider, and what its models are made of; returns the routes to them.
pub(in crate::resolve) fn add(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let path = format!("providers.{}", provider.name.value);
    let engine = provider.value.engine.value.0;
    let runtime = provider.value.runtime.as_ref().map_or(RuntimeName::External, |runtime| runtime.value);
    if let (Some(manage), true) = (&provider.value.manage, engine.models() != Models::Pulled) {
        builder.unsupported("managing the models of this engine", format!("{path}.manage"), &manage.span);
    }
    match (engine.models(), runtime) {
        (Models::Pulled, RuntimeName::External) if provider.value.manage.is_some() => {
            let Some(endpoint) = &provider.value.endpoint else { return Vec::new() };
            pulled::models(builder, provider, &endpoint.0.to_string(), None, None)
        }
        (_, RuntimeName::External) | (Models::Upstream, _) => external(builder, provider),
        (Models::Pulled, _) => pulled::add(builder, provider),
        (Models::File | Models::Repository, _) => each(builder, provider),
    }
}
