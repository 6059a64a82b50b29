//! Observation of models on servers, each server once.

use super::derived;
use crate::live::{Live, Presence};
use crate::resolve::Desired;
use crate::resource::{Bytes, Digest, Kind, OllamaName, Resource, ResourceId, ServedModel};
use crate::systems::ollama::{Error, Loaded, Ollama, Tag};
use crate::systems::pulled::Pulled;
use crate::systems::{Systems, files, pulled, unknown};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The largest manifest of a model that is read, in bytes.
const LIMIT: Bytes = Bytes(1 << 20);

/// The parameter that is a model's context.
const CONTEXT: &str = "num_ctx";

type Answer = Result<(Vec<Tag>, Vec<Loaded>), Error>;

/// Looks at every model of `resources`, and at every one that is on record.
pub(super) async fn inspect_models<'a>(
    systems: &Systems,
    stack: &str,
    resources: impl Iterator<Item = &'a Resource>,
) -> BTreeMap<ResourceId, Presence> {
    let models: BTreeMap<&ResourceId, &ServedModel> =
        resources.filter_map(|resource| Some((&resource.id, resource.model()?))).collect();
    let records: BTreeMap<ResourceId, Pulled> = match pulled::all(&systems.records.models, Kind::Model) {
        Ok(records) => records.into_iter().collect(),
        Err(error) => {
            return models.keys().map(|id| ((*id).clone(), unknown(&error))).collect();
        }
    };
    let others = records.iter().filter(|(id, _)| !models.contains_key(id));
    let endpoints: BTreeSet<&str> = models
        .values()
        .map(|model| model.endpoint.as_str())
        .chain(others.clone().map(|(_, record)| record.endpoint.as_str()))
        .collect();
    let answers = endpoints.into_iter().map(|endpoint| async move {
        let ollama = Ollama::new(&systems.client, endpoint);
        let (tags, loaded) = tokio::join!(ollama.tags(), ollama.ps());
        (endpoint, tags.and_then(|tags| Ok((tags, loaded?))))
    });
    let answers: BTreeMap<&str, Answer> = futures_util::future::join_all(answers).await.into_iter().collect();
    let mut presences = BTreeMap::new();
    for (id, model) in &models {
        if let Some(answer) = answers.get(model.endpoint.as_str()) {
            let source = model.source.shortest();
            let is_pulled = |record: &Pulled| record.has_pulled(id.kind, &source, &model.endpoint);
            let managed = records.values().any(is_pulled);
            presences.insert((*id).clone(), presence(stack, model, records.get(*id), managed, answer));
        }
    }
    derived::read_back(systems, &models, &mut presences).await;
    // Retained contents are known only by their records. They stay while they cannot be observed.
    for (id, record) in others {
        if let Some(answer) = answers.get(record.endpoint.as_str()) {
            presences.insert(id.clone(), retained(record, answer));
        }
    }
    debug_assert!(presences.keys().all(|id| id.kind == Kind::Model));
    presences
}

/// Returns the presence of a model that is known only by its record.
fn retained(record: &Pulled, answer: &Answer) -> Presence {
    match answer {
        Err(error) => unknown(error),
        Ok((tags, _)) if !tags.iter().any(|tag| tag.name.shortest() == record.name) => Presence::Absent,
        Ok(_) => Presence::Present(Live::Model {
            recorded: Some(record.fingerprint.clone()),
            loaded: false,
            sha256: record.sha256.clone(),
            managed: record.pulled.is_some(),
            kept: false,
            unserved: false,
            edited: false,
            effective: BTreeMap::new(),
        }),
    }
}

/// Returns the current content of each declared model, where it is known.
pub async fn contents(systems: &Systems, desired: &Desired) -> BTreeMap<ResourceId, Digest> {
    let presences = inspect_models(systems, &desired.stack, desired.resources.values()).await;
    let content = |(id, presence)| match presence {
        Presence::Present(Live::Model { sha256, .. }) if desired.resources.contains_key(&id) => Some((id, sha256?)),
        _ => None,
    };
    presences.into_iter().filter_map(content).collect()
}

fn presence(stack: &str, model: &ServedModel, record: Option<&Pulled>, managed: bool, answer: &Answer) -> Presence {
    let (name, source) = (&model.name, &model.source);
    let digest =
        |tags: &[Tag], name: &OllamaName| tags.iter().find(|tag| tag.name == *name).map(|tag| tag.digest.clone());
    let live = |loaded: Option<&Loaded>, content: Option<Digest>, kept, live: Option<Digest>| {
        let made_from = record.and_then(|record| record.sha256.clone());
        let sha256 = if model.is_derived() { made_from } else { content };
        let recorded = record.map(|record| record.fingerprint.clone());
        let made = record.and_then(|record| record.made.as_ref()).filter(|_| model.is_derived());
        let edited = made.is_some_and(|made| live.as_ref().is_some_and(|live| live != made));
        let unserved = live.is_none();
        let context = loaded.and_then(|loaded| loaded.context_length);
        let effective = context.map(|context| (CONTEXT.to_owned(), context.to_string())).into_iter().collect();
        let loaded = loaded.is_some_and(|loaded| loaded.pinned);
        Presence::Present(Live::Model { recorded, loaded, sha256, managed, kept, unserved, edited, effective })
    };
    match answer {
        Ok((tags, loaded)) => {
            let Some(content) = digest(tags, name) else { return Presence::Absent };
            let loaded = loaded.iter().find(|loaded| loaded.name == *name);
            live(loaded, digest(tags, source), is_kept(stack, model, tags), Some(content))
        }
        // The server does not run; its model folder shows what it will have once it runs.
        Err(error) => match model.manifest.as_ref().map(|path| content(path)) {
            Some(Ok(Some(content))) if !model.is_derived() || record.is_some_and(|record| record.made.is_some()) => {
                live(None, Some(content), false, None)
            }
            Some(Ok(_)) => Presence::Absent,
            Some(Err(error)) => unknown(&error),
            None => unknown(error),
        },
    }
}

/// Returns whether a model's declared content is present on its server.
fn is_kept(stack: &str, model: &ServedModel, tags: &[Tag]) -> bool {
    let Some(declared) = &model.sha256 else { return false };
    let (_, kept) = model.kept(stack, declared);
    tags.iter().any(|tag| tag.digest == *declared && tag.name.shortest() == kept)
}

/// Returns the digest of a manifest in a server's folder, which is the one that Ollama reports.
fn content(path: &Path) -> Result<Option<Digest>, files::Error> {
    Ok(files::read(path, LIMIT)?.map(Digest::of))
}
