//! Looks at models on servers that are asked for them, each server once.

use crate::observed::{Found, Seen};
use crate::resource::{OllamaName, Resource, ResourceId, ServedModel, Spec};
use crate::systems::ollama::{Error, Loaded, Ollama, Tag};
use crate::systems::{Systems, files, pulled};
use std::collections::{BTreeMap, BTreeSet};

/// Looks at every model of `resources`.
pub(super) async fn look_at_models<'a>(
    systems: &Systems,
    resources: impl Iterator<Item = &'a Resource>,
) -> BTreeMap<ResourceId, Seen> {
    let models: Vec<(&ResourceId, &ServedModel)> = resources
        .filter_map(|resource| if let Spec::Model(model) = &resource.spec { Some((&resource.id, model)) } else { None })
        .collect();
    let endpoints: BTreeSet<&str> = models.iter().map(|(_, model)| model.endpoint.as_str()).collect();
    let answers = endpoints.into_iter().map(|endpoint| async move {
        let ollama = Ollama::new(&systems.client, endpoint);
        let (tags, loaded) = tokio::join!(ollama.tags(), ollama.ps());
        (endpoint, tags.and_then(|tags| Ok((tags, loaded?))))
    });
    let answers: BTreeMap<&str, _> = futures_util::future::join_all(answers).await.into_iter().collect();
    models
        .into_iter()
        .filter_map(|(id, model)| Some((id.clone(), seen(systems, id, model, answers.get(model.endpoint.as_str())?))))
        .collect()
}

fn seen(
    systems: &Systems,
    id: &ResourceId,
    model: &ServedModel,
    answer: &Result<(Vec<Tag>, Vec<Loaded>), Error>,
) -> Seen {
    let recorded = match pulled::find(&systems.pulled, id) {
        Ok(record) => record.map(|record| record.fingerprint),
        Err(error) => return Seen::Unknown(error.to_string()),
    };
    match answer {
        Ok((tags, loaded)) => {
            let Ok(name) = OllamaName::parse(&model.name) else { return Seen::Absent };
            if !tags.iter().any(|tag| tag.name == name) {
                return Seen::Absent;
            }
            let loaded = loaded.iter().any(|loaded| loaded.name == name && loaded.pinned);
            Seen::Present(Found::Model { recorded, loaded })
        }
        // The server does not run; its folder of models tells what it will have when it does.
        Err(error) => match model.manifest.as_ref().map(|path| files::stamp(path)) {
            Some(Ok(Some(_))) if !model.is_derived() || recorded.is_some() => {
                Seen::Present(Found::Model { recorded, loaded: false })
            }
            Some(Ok(_)) => Seen::Absent,
            Some(Err(error)) => Seen::Unknown(error.to_string()),
            None => Seen::Unknown(error.to_string()),
        },
    }
}
