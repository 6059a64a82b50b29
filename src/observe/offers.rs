//! Asks registries and hubs about pending downloads.

use crate::live::{Live, Observation, Presence};
use crate::resolve::Desired;
use crate::resource::{ArtifactSource, Digest, ResourceId, ServedModel, Spec};
use crate::systems::secrets::{self, Secret};
use crate::systems::{Systems, ollama};
use futures_util::future::join_all;
use std::time::Duration;

/// The longest wait for a registry or a hub to report a size.
const SIZE: Duration = Duration::from_secs(3);

/// The remote version of a pending download.
pub(super) enum Offer {
    /// The desired content, and its size in bytes.
    Size(u64),
    /// Another content.
    Moved(Digest),
}

/// Returns what is offered for each pending download, where that is reported.
pub(super) async fn offers(systems: &Systems, desired: &Desired, observed: &Observation) -> Vec<(ResourceId, Offer)> {
    let questions = desired.resources.values().map(|resource| async move {
        let presence = observed.resources.get(&resource.id);
        let offer = match &resource.spec {
            Spec::Artifact(artifact) if presence == Some(&Presence::Absent) => {
                let ArtifactSource::Url { url, token } = &artifact.source else { return None };
                let token = token.as_ref().and_then(|token| secrets::resolve(token).ok());
                Offer::Size(systems.client.size(url, token.as_ref().map(Secret::reveal), SIZE).await?)
            }
            Spec::Model(model) if is_to_be_pulled(model, presence) => {
                if is_kept(&desired.stack, model, observed) {
                    return Some((resource.id.clone(), Offer::Size(0)));
                }
                let remote = ollama::manifest(&systems.client, &model.source, model.insecure, SIZE).await.ok()?;
                if model.sha256.as_ref().is_some_and(|declared| *declared != remote.digest) {
                    Offer::Moved(remote.digest)
                } else {
                    Offer::Size(ollama::missing(model.store(), &remote).0)
                }
            }
            _ => return None,
        };
        Some((resource.id.clone(), offer))
    });
    join_all(questions).await.into_iter().flatten().collect()
}

/// Returns whether the desired content of a model is kept on its server under another name.
fn is_kept(stack: &str, model: &ServedModel, observed: &Observation) -> bool {
    let kept = model.sha256.as_ref().map(|declared| model.kept(stack, declared).0);
    kept.is_some_and(|id| matches!(observed.resources.get(&id), Some(Presence::Present(_))))
}

fn is_to_be_pulled(model: &ServedModel, presence: Option<&Presence>) -> bool {
    match presence {
        Some(Presence::Absent) => true,
        Some(Presence::Present(Live::Model { sha256, kept, .. })) => {
            !kept && model.sha256.is_some() && sha256.is_some() && *sha256 != model.sha256
        }
        _ => false,
    }
}
