//! Models on a server that is asked for them: pulled, derived, loaded, removed.

use super::step::Failure;
use super::{Event, Scene};
use crate::observed::Ours;
use crate::plan::Action;
use crate::resource::{OllamaName, Resource, ResourceId, ServedModel};
use crate::systems::downloads::{Patience, Progress};
use crate::systems::ollama::{Derived, KeepAlive, Ollama, Pull};
use crate::systems::{Hint, pulled};
use std::time::Duration;

/// The longest that a model may take to load.
const LOAD: Duration = Duration::from_secs(1800);

fn name(id: &ResourceId, text: &str) -> Result<OllamaName, Failure> {
    OllamaName::parse(text).map_err(|why| Failure::new(id, format!("`{text}` is no name: {why}")))
}

/// Pulls what a model is made of, unless it is there, and makes the model of llamero's own if it is to be one.
pub(super) async fn pull(
    scene: Scene<'_>,
    action: &Action,
    resource: &Resource,
    model: &ServedModel,
) -> Result<(), Failure> {
    let id = &resource.id;
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let ollama = Ollama::new(&scene.systems.client, &model.endpoint);
    let source = name(id, &model.source)?;
    let known = pulled::find(&scene.systems.pulled, id).map_err(|error| failed(&error))?;
    let mut brought = known.and_then(|known| known.pulled).filter(|pulled| *pulled == model.source);
    let tags = ollama.tags().await.map_err(|error| failed(&error))?;
    if !tags.iter().any(|tag| tag.name == source) {
        // On record before it is there: an interrupted pull leaves nothing that nobody knows of.
        brought = Some(model.source.clone());
        keep(scene, resource, model, brought.clone()).map_err(|error| failed(&error))?;
        let step = action.to_string();
        let progress = |Progress { received, total }: Progress| {
            (scene.report)(Event::Progress { step: step.clone(), done: Some(received), total, note: None });
        };
        let pull = Pull { name: source.clone(), insecure: model.insecure, patience: Patience::default() };
        ollama.pull(&pull, &progress, scene.cancel).await.map_err(|error| failed(&error))?;
    }
    if model.is_derived() {
        let derived = Derived {
            name: name(id, &model.name)?,
            from: source,
            parameters: model.parameters.clone(),
            template: model.template.clone(),
            system: model.system.clone(),
        };
        ollama.create(&derived, scene.cancel).await.map_err(|error| failed(&error))?;
    }
    keep(scene, resource, model, brought).map_err(|error| failed(&error))
}

fn keep(
    scene: Scene<'_>,
    resource: &Resource,
    model: &ServedModel,
    brought: Option<String>,
) -> Result<(), crate::systems::files::Error> {
    let record = pulled::Pulled {
        fingerprint: resource.fingerprint(),
        endpoint: model.endpoint.clone(),
        name: model.name.clone(),
        pulled: brought,
    };
    pulled::record(&scene.systems.pulled, &resource.id, &record)
}

/// Loads a model that is to stay loaded.
pub(super) async fn load(scene: Scene<'_>, id: &ResourceId, model: &ServedModel) -> Result<(), Failure> {
    let ollama = Ollama::new(&scene.systems.client, &model.endpoint);
    let name = name(id, &model.name)?;
    let loaded = ollama.load(&name, KeepAlive::Forever, model.embedding, LOAD, scene.cancel).await;
    loaded.map_err(|error| Failure::of(Some(id), &error))
}

/// Removes what llamero brought for a model: the model of its own, and what it pulled, unless another stands on it.
pub(super) async fn remove(scene: Scene<'_>, ours: &Ours) -> Result<(), Failure> {
    let id = ours.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let folder = &scene.systems.pulled;
    let Some(record) = pulled::find(folder, id).map_err(|error| failed(&error))? else { return Ok(()) };
    let ollama = Ollama::new(&scene.systems.client, &record.endpoint);
    let derived = record.pulled.as_ref() != Some(&record.name) && record.name.starts_with("llamero-");
    if derived {
        ollama.delete(&name(id, &record.name)?).await.map_err(|error| failed(&error))?;
    }
    if let Some(text) = &record.pulled
        && !pulled::is_shared(folder, id, text, &record.endpoint).map_err(|error| failed(&error))?
    {
        ollama.delete(&name(id, text)?).await.map_err(|error| failed(&error))?;
    }
    pulled::forget(folder, id).map_err(|error| failed(&error))
}
