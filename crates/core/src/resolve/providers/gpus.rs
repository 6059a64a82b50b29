//! The GPUs of a provider's servers.

use crate::manifest::{Entry, Provider, RuntimeName};
use crate::resolve::build::Builder;
use crate::resource::{Gpus, Note, Origin};

/// Returns the share of a GPU that each server of a provider takes, where the manifest gives a budget.
pub(super) fn share_of_gpu(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    servers: usize,
) -> Option<(String, Origin)> {
    let path = format!("providers.{}.memory", provider.name.value);
    let memory = provider.value.memory.as_ref()?;
    let Some(share) = provider.value.engine.value.share_of_gpu() else {
        builder.unsupported("a budget of GPU memory", path, &memory.span);
        return None;
    };
    let text = builder.share_of_gpu(provider, servers);
    let models = builder.manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    let mut words = models.flat_map(|model| &model.value.args.value.0).chain(&provider.value.args.value.0);
    if words.any(|word| share.is_flag(word)) || provider.value.settings.0.get(share.setting).is_some() {
        let message = format!("`memory` is the share of the GPU that `{}` says too", share.setting);
        builder.note(Note::error("twice", message).hint("keep one of the two"), path.clone(), &memory.span);
    }
    Some((text?, Origin::new(path, memory.value.0)))
}

/// Returns whether a provider's servers are containers.
pub(super) fn in_container(provider: &Entry<Provider>) -> bool {
    provider.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker)
}

/// Returns the GPUs that a provider's servers may use. A container sees those that the manifest names and no others.
pub(super) fn gpus(provider: &Entry<Provider>) -> Gpus {
    let chosen: Vec<String> = provider.value.gpus.iter().map(|gpu| gpu.value.to_string()).collect();
    let claims = provider.value.engine.value.share_of_gpu().is_some();
    match (chosen.is_empty(), in_container(provider)) {
        (false, _) => Gpus::Devices(chosen),
        (true, true) => Gpus::None,
        (true, false) if claims => Gpus::All,
        (true, false) => Gpus::Unspecified,
    }
}
