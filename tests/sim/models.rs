//! Models on a simulated server that pulls them, as an Ollama does: names, contents, and what is on record of them.

use crate::truth::{ModelRecord, Server, Truth};
use llamero::live::{Live, Presence, Unseen};
use llamero::resolve::Desired;
use llamero::resource::{Digest, Resource, ResourceId, ServedModel};
use std::collections::BTreeMap;
use std::time::Duration;

/// Returns the process that serves an endpoint, if it answers.
fn process(truth: &Truth, now: Duration, endpoint: &str) -> Option<u64> {
    let port = endpoint.rsplit(':').next()?.parse::<u16>().ok()?;
    let mut servers = truth.servers.values().filter(|server: &&Server| server.is_healthy(now));
    let process = servers.find_map(|server| {
        server.process.as_ref().filter(|process| !process.clashed && process.definition.run.ports.contains(&port))
    })?;
    Some(process.number)
}

/// Returns whether the server of an endpoint died and was started again by itself since a moment.
pub(crate) fn began_again(truth: &Truth, endpoint: &str, since: Duration) -> bool {
    let port = endpoint.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let mut servers = truth.servers.values().filter(|server| server.restarts > 0);
    servers.any(|server| {
        let process = server.process.as_ref().filter(|process| process.started > since);
        process.is_some_and(|process| port.is_some_and(|port| process.definition.run.ports.contains(&port)))
    })
}

fn answers(truth: &Truth, now: Duration, endpoint: &str) -> Result<u64, String> {
    process(truth, now, endpoint).ok_or_else(|| format!("{endpoint} does not answer"))
}

fn tag(truth: &Truth, endpoint: &str, name: &str) -> Option<Digest> {
    truth.models.tags.get(&(endpoint.to_owned(), name.to_owned())).cloned()
}

fn has_pulled(truth: &Truth, model: &ServedModel) -> bool {
    let source = model.source.shortest();
    let mut records = truth.models.records.values();
    records.any(|record| record.endpoint == model.endpoint && record.pulled.as_deref() == Some(source.as_str()))
}

pub(crate) fn inspect(truth: &Truth, now: Duration, stack: &str, id: &ResourceId, model: &ServedModel) -> Presence {
    let record = truth.models.records.get(id);
    let content = tag(truth, &model.endpoint, &model.source.shortest());
    let name = (model.endpoint.clone(), model.name.shortest());
    let own = truth.models.tags.get(&name);
    let process = process(truth, now, &model.endpoint);
    let there = if process.is_some() { own.is_some() } else { content.is_some() };
    if process.is_none() && model.manifest.is_none() {
        return Presence::Unknown(Unseen::new("it does not answer"));
    }
    if !there || (process.is_none() && model.is_derived() && !record.is_some_and(|record| record.made)) {
        return Presence::Absent;
    }
    let made_from = record.and_then(|record| record.content.clone());
    let kept = model
        .sha256
        .as_ref()
        .is_some_and(|declared| tag(truth, &model.endpoint, &model.kept(stack, declared).1).as_ref() == Some(declared));
    Presence::Present(Live::Model {
        recorded: record.map(|record| record.fingerprint.clone()),
        loaded: process.is_some() && truth.models.loaded.get(&name).copied() == process,
        sha256: if model.is_derived() { made_from } else { content },
        managed: has_pulled(truth, model),
        kept: process.is_some() && kept,
        unserved: process.is_none(),
        edited: false,
        effective: BTreeMap::new(),
    })
}

/// Returns what is on record and not among the known resources.
pub(crate) fn others(truth: &Truth, now: Duration, known: impl Fn(&ResourceId) -> bool) -> Vec<(ResourceId, Presence)> {
    let others = truth.models.records.iter().filter(|(id, _)| !known(id));
    let seen = others.filter(|(_, record)| process(truth, now, &record.endpoint).is_some());
    let presence = |(id, record): (&ResourceId, &ModelRecord)| {
        let live = tag(truth, &record.endpoint, &record.name).map(|_| Live::Model {
            recorded: Some(record.fingerprint.clone()),
            loaded: false,
            sha256: record.content.clone(),
            managed: record.pulled.is_some(),
            kept: false,
            unserved: false,
            edited: false,
            effective: BTreeMap::new(),
        });
        (id.clone(), live.map_or(Presence::Absent, Presence::Present))
    };
    seen.map(presence).collect()
}

pub(crate) fn contents(truth: &Truth, now: Duration, desired: &Desired) -> BTreeMap<ResourceId, Digest> {
    let models = desired.resources.values().filter_map(|resource| Some((&resource.id, resource.model()?)));
    let content = |(id, model)| match inspect(truth, now, &desired.stack, id, model) {
        Presence::Present(Live::Model { sha256, .. }) => Some((id.clone(), sha256?)),
        _ => None,
    };
    models.filter_map(content).collect()
}

/// Pulls the source, then makes the model from it.
pub(crate) fn pull(truth: &mut Truth, now: Duration, stack: &str, resource: &Resource, part: u8) -> Result<(), String> {
    let model = resource.model().ok_or("it is no model")?;
    answers(truth, now, &model.endpoint)?;
    let source = (model.endpoint.clone(), model.source.shortest());
    let right = |content: &Digest| model.sha256.as_ref().is_none_or(|declared| declared == content);
    let brought = has_pulled(truth, model);
    let mut record = ModelRecord {
        fingerprint: resource.fingerprint(),
        endpoint: model.endpoint.clone(),
        name: model.name.shortest(),
        pulled: brought.then(|| source.1.clone()),
        content: None,
        made: false,
    };
    if part == 0 {
        let there = truth.models.tags.get(&source).cloned();
        if there.as_ref().is_some_and(right) {
            return Ok(());
        }
        if there.is_some() && !brought {
            return Err("it is there, and another program's".to_owned());
        }
        record.pulled = Some(source.1.clone());
        let known = truth.models.records.get(&resource.id).cloned();
        let begun =
            known.map_or_else(|| record.clone(), |known| ModelRecord { pulled: record.pulled.clone(), ..known });
        truth.models.records.insert(resource.id.clone(), begun);
        let kept =
            model.sha256.as_ref().and_then(|declared| tag(truth, &model.endpoint, &model.kept(stack, declared).1));
        let offered = || Digest::of(format!("{} {}", source.1, truth.models.registry));
        let content = kept.unwrap_or_else(offered);
        truth.models.tags.insert(source, content);
        return Ok(());
    }
    let content = truth.models.tags.get(&source).cloned().ok_or("its source is gone")?;
    if !right(&content) {
        return Err("the registry has another content".to_owned());
    }
    (record.content, record.made) = (Some(content), true);
    if model.is_derived() {
        let made = Digest::of(format!("{:?} {:?}", record.fingerprint, record.content));
        truth.models.tags.insert((model.endpoint.clone(), model.name.shortest()), made);
    }
    truth.models.records.insert(resource.id.clone(), record);
    Ok(())
}

pub(crate) fn load(truth: &mut Truth, now: Duration, resource: &Resource) -> Result<(), String> {
    let model = resource.model().ok_or("it is no model")?;
    let process = answers(truth, now, &model.endpoint)?;
    let name = (model.endpoint.clone(), model.name.shortest());
    if !truth.models.tags.contains_key(&name) {
        return Err("there is no such model".to_owned());
    }
    truth.models.loaded.insert(name, process);
    Ok(())
}

/// Gives the content that a source has another name.
pub(crate) fn keep(truth: &mut Truth, now: Duration, stack: &str, resource: &Resource) -> Result<(), String> {
    let model = resource.model().ok_or("it is no model")?;
    answers(truth, now, &model.endpoint)?;
    let content = tag(truth, &model.endpoint, &model.source.shortest()).ok_or("its source is gone")?;
    let (id, name) = model.kept(stack, &content);
    let record = ModelRecord {
        fingerprint: resource.fingerprint(),
        endpoint: model.endpoint.clone(),
        name: name.clone(),
        pulled: None,
        content: Some(content.clone()),
        made: false,
    };
    truth.models.records.insert(id, record);
    truth.models.tags.insert((model.endpoint.clone(), name), content);
    Ok(())
}

pub(crate) fn remove(truth: &mut Truth, now: Duration, desired: &Desired, id: &ResourceId) -> Result<(), String> {
    let Some(record) = truth.models.records.get(id).cloned() else { return Ok(()) };
    answers(truth, now, &record.endpoint)?;
    for resource in desired.resources.values().filter(|resource| resource.id != *id) {
        let Some(model) = resource.model().filter(|model| !model.is_derived()) else { continue };
        let same = model.endpoint == record.endpoint && Some(model.source.shortest()) == record.pulled;
        if same && !truth.models.records.contains_key(&resource.id) {
            let (fingerprint, name) = (resource.fingerprint(), model.name.shortest());
            let heir = ModelRecord { fingerprint, name, ..record.clone() };
            truth.models.records.insert(resource.id.clone(), heir);
        }
    }
    truth.models.records.remove(id);
    let used = |name: &str| {
        let mut others = truth.models.records.values().filter(|other| other.endpoint == record.endpoint);
        others.any(|other| other.name == name || other.pulled.as_deref() == Some(name))
    };
    let mut names = vec![record.name.clone()];
    names.extend(record.pulled.clone());
    names.retain(|name| !used(name));
    // A name that was there before is not llamero's to remove.
    let derived_or_pulled = |name: &String| record.pulled.is_some() || name.starts_with("llamero-");
    for name in names.into_iter().filter(derived_or_pulled) {
        truth.models.tags.remove(&(record.endpoint.clone(), name));
    }
    Ok(())
}
