//! Models on a server: pulled, derived, loaded, removed.

use super::{Event, Execution, Failure};
use crate::live::Managed;
use crate::plan::Action;
use crate::resource::{Digest, Fields, Fingerprint, OllamaName, Resource, ResourceId, ServedModel};
use crate::systems::downloads::{self, Patience, Progress};
use crate::systems::ollama::{self, Derived, KeepAlive, Load, Ollama, Pull};
use crate::systems::pulled::{self, Pulled};
use crate::systems::{Hint, sealed};
use std::time::Duration;

/// The longest that a model may take to load.
const LOAD: Duration = Duration::from_secs(1800);

/// The longest wait for the requests that a model still answers before it is removed.
const UNLOAD: Duration = Duration::from_secs(60);

/// The longest wait for a registry to resolve a name.
const REGISTRY: Duration = Duration::from_secs(15);

fn name(id: &ResourceId, text: &str) -> Result<OllamaName, Failure> {
    OllamaName::parse(text).map_err(|why| Failure::new(id, format!("`{text}` is no name: {why}")))
}

/// Pulls a model's source unless it is present, and creates llamero's own model from it if the model is derived.
pub(super) async fn pull(
    execution: Execution<'_>,
    action: &Action,
    resource: &Resource,
    model: &ServedModel,
) -> Result<(), Failure> {
    let id = &resource.id;
    let ollama = Ollama::new(&execution.systems.client, &model.endpoint);
    let mut record = record(execution, resource, model)?;
    let content = content(ollama, id, &model.source).await?;
    let right = |content: &Digest| model.sha256.as_ref().is_none_or(|declared| declared == content);
    if !content.as_ref().is_some_and(right) {
        if let Some(content) = &content
            && record.pulled.is_none()
        {
            let why = format!("`{}` exists with the content {content} and is not managed by llamero", model.source);
            return Err(Failure::new(id, why));
        }
        // Recorded before it exists: an interrupted pull leaves nothing unrecorded.
        record.pulled = Some(model.source.shortest());
        keep(execution, id, &begun(execution, id, &record)?)?;
        if !bring_back(execution, id, model).await? {
            fetch(execution, action, id, model).await?;
        }
    }
    record.sha256 = self::content(ollama, id, &model.source).await?;
    if let Some(declared) = &model.sha256
        && record.sha256.as_ref() != Some(declared)
    {
        let is = record.sha256.map_or_else(|| "nothing".to_owned(), |is| is.to_string());
        return Err(Failure::new(id, format!("`{}` has become {is}, not {declared}", model.source)));
    }
    if model.is_derived() {
        let derived = Derived {
            name: model.name.clone(),
            from: model.source.clone(),
            parameters: model.parameters.clone(),
            template: model.template.clone(),
            system: model.system.clone(),
        };
        ollama.create(&derived, execution.cancel).await.map_err(|error| Failure::of(Some(id), &error))?;
        record.made = self::content(ollama, id, &model.name).await?;
    }
    keep(execution, id, &record)
}

/// Returns the record of a model before anything is pulled.
fn record(execution: Execution<'_>, resource: &Resource, model: &ServedModel) -> Result<Pulled, Failure> {
    let id = &resource.id;
    let records = pulled::all(&execution.systems.records.models, id.kind);
    let records = records.map_err(|error| Failure::of(Some(id), &error))?;
    let source = model.source.shortest();
    // If any model of this stack pulled it, it is managed for all of them.
    let brought = records.iter().any(|(_, record)| record.has_pulled(id.kind, &source, &model.endpoint));
    Ok(Pulled {
        fingerprint: resource.fingerprint(),
        endpoint: model.endpoint.clone(),
        name: model.name.shortest(),
        pulled: brought.then_some(source),
        sha256: None,
        made: None,
    })
}

/// Returns the record of a model while its source is pulled: an earlier one stays true until the model is created anew,
/// so that an interruption is detected.
fn begun(execution: Execution<'_>, id: &ResourceId, record: &Pulled) -> Result<Pulled, Failure> {
    let known = pulled::find(&execution.systems.records.models, id);
    let known = known.map_err(|error| Failure::of(Some(id), &error))?;
    Ok(known.map_or_else(|| record.clone(), |known| Pulled { pulled: record.pulled.clone(), ..known }))
}

fn keep(execution: Execution<'_>, id: &ResourceId, record: &Pulled) -> Result<(), Failure> {
    pulled::record(&execution.systems.records.models, id, record).map_err(|error| Failure::of(Some(id), &error))
}

/// Returns the content that a name has on a server.
async fn content(ollama: Ollama<'_>, id: &ResourceId, name: &OllamaName) -> Result<Option<Digest>, Failure> {
    let tags = ollama.tags().await.map_err(|error| Failure::of(Some(id), &error))?;
    Ok(tags.into_iter().find(|tag| tag.name == *name).map(|tag| tag.digest))
}

/// Gives the current content of a source a second name, for a rollback without its registry.
pub(super) async fn keep_content(
    execution: Execution<'_>,
    id: &ResourceId,
    model: &ServedModel,
) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let ollama = Ollama::new(&execution.systems.client, &model.endpoint);
    let Some(content) = content(ollama, id, &model.source).await? else { return Ok(()) };
    let (kept, text) = model.kept(&execution.desired.stack, &content);
    let record = Pulled {
        fingerprint: Fingerprint::of(&Fields::from([("content".to_owned(), content.to_string().into())])),
        endpoint: model.endpoint.clone(),
        name: text.clone(),
        pulled: Some(text.clone()),
        sha256: Some(content.clone()),
        made: None,
    };
    pulled::record(&execution.systems.records.models, &kept, &record).map_err(|error| failed(&error))?;
    ollama.copy(&model.source, &name(id, &text)?).await.map_err(|error| failed(&error))
}

/// Restores the required content of a source from its retained copy; returns whether there was one.
async fn bring_back(execution: Execution<'_>, id: &ResourceId, model: &ServedModel) -> Result<bool, Failure> {
    let Some(declared) = &model.sha256 else { return Ok(false) };
    let ollama = Ollama::new(&execution.systems.client, &model.endpoint);
    let kept = name(id, &model.kept(&execution.desired.stack, declared).1)?;
    if content(ollama, id, &kept).await?.as_ref() != Some(declared) {
        return Ok(false);
    }
    ollama.copy(&kept, &model.source).await.map_err(|error| Failure::of(Some(id), &error))?;
    Ok(true)
}

/// Pulls a source through its server, after its registry has confirmed the digest and the size fits.
async fn fetch(execution: Execution<'_>, action: &Action, id: &ResourceId, model: &ServedModel) -> Result<(), Failure> {
    let source = &model.source;
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let client = &execution.systems.client;
    // If the registry does not answer, the server may still reach it, and otherwise reports a better error.
    if let Ok(remote) = ollama::manifest(client, source, model.insecure, REGISTRY).await {
        if let Some(declared) = model.sha256.as_ref().filter(|declared| **declared != remote.digest) {
            let mut failure = Failure::new(id, format!("`{source}` now leads to {}, not to {declared}", remote.digest));
            failure.hint = Some("`llamero outdated` shows what moved, and `llamero update` follows it".to_owned());
            return Err(failure);
        }
        if let Some(store) = model.store() {
            let needed = ollama::missing(Some(store), &remote);
            downloads::check_room(store, needed, model.keep_free).map_err(|error| failed(&error))?;
        }
    }
    let step = action.to_string();
    let progress = |Progress { received, total }: Progress| {
        (execution.report)(Event::Progress { step: step.clone(), done: Some(received), total, note: None });
    };
    let pull = Pull { name: source.clone(), insecure: model.insecure, patience: Patience::default() };
    Ollama::new(client, &model.endpoint).pull(&pull, &progress, execution.cancel).await.map_err(|error| failed(&error))
}

/// Loads a model that is to stay loaded.
pub(super) async fn load(execution: Execution<'_>, id: &ResourceId, model: &ServedModel) -> Result<(), Failure> {
    let ollama = Ollama::new(&execution.systems.client, &model.endpoint);
    let load = Load { name: &model.name, keep_alive: KeepAlive::Forever, embedding: model.embedding };
    let loaded = ollama.load(load, LOAD, execution.cancel).await;
    loaded.map_err(|error| Failure::of(Some(id), &error))
}

/// Removes what llamero brought for a model: the model of its own, and what it pulled, unless another stands on it.
pub(super) async fn remove(execution: Execution<'_>, managed: &Managed) -> Result<(), Failure> {
    let id = managed.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let folder = &execution.systems.records.models;
    let Some(record) = pulled::find(folder, id).map_err(|error| failed(&error))? else { return Ok(()) };
    let ollama = Ollama::new(&execution.systems.client, &record.endpoint);
    let own = format!("llamero-{}/", execution.desired.stack);
    let derived = record.pulled.as_ref() != Some(&record.name) && record.name.starts_with(&own);
    if derived {
        delete(execution, id, ollama, &record.name).await?;
    }
    if let Some(text) = &record.pulled
        && !inherits(execution, id, text, &record).map_err(|error| failed(&error))?
        && !pulled::is_shared(folder, id, text, &record.endpoint).map_err(|error| failed(&error))?
    {
        delete(execution, id, ollama, text).await?;
    }
    pulled::forget(folder, id).map_err(|error| failed(&error))
}

/// Records that a declared model of the same source was pulled, if there is one that has no record since the source was
/// already present for the model that is removed; returns whether there is.
fn inherits(
    execution: Execution<'_>,
    removed: &ResourceId,
    text: &str,
    record: &Pulled,
) -> Result<bool, sealed::Error> {
    let folder = &execution.systems.records.models;
    let mut inherits = false;
    for resource in execution.desired.resources.values().filter(|resource| resource.id != *removed) {
        let Some(model) = resource.model().filter(|model| !model.is_derived()) else { continue };
        let same = model.endpoint == record.endpoint && model.source.shortest().eq_ignore_ascii_case(text);
        if !same || pulled::find(folder, &resource.id)?.is_some() {
            continue;
        }
        let name = model.name.shortest();
        let heir = Pulled { fingerprint: resource.fingerprint(), name, made: None, ..record.clone() };
        pulled::record(folder, &resource.id, &heir)?;
        inherits = true;
    }
    Ok(inherits)
}

/// Removes a name from a server. What is loaded under it would stay in memory, for ever where it was to stay loaded.
async fn delete(execution: Execution<'_>, id: &ResourceId, ollama: Ollama<'_>, text: &str) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let name = name(id, text)?;
    let loaded = ollama.ps().await.map_err(|error| failed(&error))?;
    if loaded.iter().any(|loaded| loaded.name == name) {
        ollama.unload(&name, UNLOAD, execution.cancel).await.map_err(|error| failed(&error))?;
    }
    ollama.delete(&name).await.map_err(|error| failed(&error))
}
