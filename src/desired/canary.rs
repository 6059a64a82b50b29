//! The wish in which only one model's route is as it will be: what a change of routes is tried on first.
//!
//! Routes are what the gateway's configuration says of models. All else is already as it will be, so the servers that the
//! new routes lead to are there; the other routes stay those of the committed generation, and so do the gateway's settings.

use super::Desired;
use crate::manifest::{Manifest, Mode};
use crate::render::yaml::{read_yaml, yaml};
use crate::resource::{Content, Piece, Probe, ResourceId, Run, Seconds, Spec};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How long a canary is tried when the manifest says nothing.
const CANARY_FOR: Seconds = Seconds::new(30);

/// The sections of `LiteLLM`'s configuration in which models are related.
const SECTIONS: [&str; 2] = ["router_settings", "litellm_settings"];

/// The relations between models in them.
const RELATIONS: [&str; 3] = ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"];

/// The one model whose route changes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Its name.
    pub model: String,
    /// What it is for.
    pub mode: Mode,
    /// How long it is tried before the other routes change.
    pub lasting: Seconds,
}

/// How a change of routes begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// With this wish.
    Wish(Box<Desired>),
    /// The routes of other models change, and the canary's own does not.
    Others,
    /// No route changes, or nothing is known of the former ones.
    Nothing,
}

/// What is known of the committed generation's routes, and of where they led.
#[derive(Debug, Clone, Copy)]
pub struct Former<'a> {
    /// The content of its files.
    pub files: &'a BTreeMap<ResourceId, Content>,
    /// The ports of its servers.
    pub ports: &'a BTreeMap<ResourceId, Vec<u16>>,
}

/// Returns a model of a manifest as the one whose route changes first; `None` when there is no such model.
#[must_use]
pub fn canary(manifest: &Manifest, model: &str) -> Option<Canary> {
    let lasting = manifest.policy.canary_for.as_ref().map_or(CANARY_FOR, |time| time.value.0);
    let mode = manifest.models.find(model)?.mode;
    Some(Canary { model: model.to_owned(), mode, lasting })
}

impl Desired {
    /// Returns this wish with the former routes of all models but the canary's.
    #[must_use]
    pub fn canary_first(&self, former: Former<'_>) -> First {
        let Some((id, run, config, before, wished)) = self.routes(former) else { return First::Nothing };
        let Some(canary) = self.canary.as_ref().filter(|_| before != wished) else { return First::Nothing };
        let mut own = before.clone();
        replace(&mut own, &wished, &canary.model);
        if own == before {
            return First::Others;
        }
        let mixed = self.mixed(&canary.model, &before, &wished, former.ports);
        let mut first = self.clone();
        if mixed == wished {
            return First::Wish(Box::new(first));
        }
        let text = yaml(&mixed);
        let rendered = self.content(config);
        let copies = self.resources.keys().filter(|id| rendered.is_some() && self.content(id) == rendered);
        for id in copies {
            first.set_content(id, Content::text(text.clone()));
        }
        // A former route may need a key that nothing in the new manifest does.
        let files = run.inputs.iter().filter_map(|input| Some((&input.resource, self.content(&input.resource)?)));
        for (id, content) in files.filter(|(_, content)| content.is_secret()) {
            if let Some(before) = former.files.get(id) {
                first.set_content(id, with_keys(content, before, &text));
            }
        }
        if let Some(Spec::Run(run)) = first.resources.get_mut(id).map(|resource| &mut resource.spec)
            && let Probe::Litellm { models, .. } = &mut run.probe
        {
            *models = deployments(&mixed).iter().filter_map(name).map(str::to_owned).collect();
        }
        first.renew_inputs();
        First::Wish(Box::new(first))
    }

    /// Returns the gateway, the file with its configuration, and that as it was and as it is to be.
    fn routes(&self, former: Former<'_>) -> Option<(&ResourceId, &Run, &ResourceId, Value, Value)> {
        let (id, run) = self.gateway()?;
        let mut inputs = run.inputs.iter().map(|input| &input.resource);
        let (config, wished) = inputs.find_map(|input| Some((input, routes(self.content(input)?)?)))?;
        let before = routes(former.files.get(config)?)?;
        Some((id, run, config, before, wished))
    }

    fn content(&self, id: &ResourceId) -> Option<&Content> {
        match &self.resources.get(id)?.spec {
            Spec::File(file) => Some(&file.content),
            _ => None,
        }
    }

    fn set_content(&mut self, id: &ResourceId, content: Content) {
        if let Some(Spec::File(file)) = self.resources.get_mut(id).map(|resource| &mut resource.spec) {
            file.content = content;
        }
    }

    /// Returns the former configuration with the new route of one model, and of those that it falls back to and that had
    /// none. The route of a server that moves is the new one too: the former one would lead nowhere, or to another.
    fn mixed(&self, canary: &str, before: &Value, wished: &Value, ports: &BTreeMap<ResourceId, Vec<u16>>) -> Value {
        let mut mixed = before.clone();
        let moved = deployments(before).iter().filter(|deployment| self.moves(deployment, ports)).filter_map(name);
        let mut renewed: Vec<&str> = std::iter::once(canary).chain(moved).collect();
        let mut next = 0;
        while let Some(model) = renewed.get(next).copied() {
            next += 1;
            replace(&mut mixed, wished, model);
            let known: Vec<&str> = deployments(before).iter().filter_map(name).collect();
            let missing: Vec<&str> =
                related(wished, model).filter(|target| !known.contains(target) && !renewed.contains(target)).collect();
            renewed.extend(missing);
        }
        let still: Vec<&str> = deployments(&mixed).iter().filter_map(name).collect();
        let gone = deployments(before).iter().filter_map(name).filter(|name| !still.contains(name));
        let gone: Vec<&str> = gone.collect();
        forget(&mut mixed, &gone);
        mixed
    }

    /// Returns whether the server that a former route led to will be elsewhere, or another will be in its place.
    fn moves(&self, deployment: &Value, ports: &BTreeMap<ResourceId, Vec<u16>>) -> bool {
        let base = deployment.pointer("/litellm_params/api_base").and_then(Value::as_str);
        let Some(port) = base.and_then(loopback_port) else { return false };
        let before = ports.iter().find(|(_, ports)| ports.contains(&port)).map(|(id, _)| id);
        let now = self.runs().find(|(_, run)| run.ports.contains(&port)).map(|(resource, _)| &resource.id);
        match (before, now) {
            // Nobody's of ours, and as it was.
            (None, None) => false,
            // What is no longer declared goes only when all is well.
            (Some(before), None) => self.resources.contains_key(before),
            (before, Some(now)) => before != Some(now),
        }
    }
}

/// Returns the port of an address on this machine.
fn loopback_port(address: &str) -> Option<u16> {
    let rest = address.split_once("://")?.1.split('/').next()?;
    let (host, port) = rest.rsplit_once(':')?;
    matches!(host, "127.0.0.1" | "localhost" | "[::1]").then(|| port.parse().ok())?
}

/// Returns a configuration that has routes.
fn routes(content: &Content) -> Option<Value> {
    let [Piece::Text(text)] = content.0.as_slice() else { return None };
    read_yaml(text).filter(|config| config.get("model_list").is_some_and(Value::is_array))
}

fn deployments(config: &Value) -> &[Value] {
    config.get("model_list").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn name(deployment: &Value) -> Option<&str> {
    deployment.get("model_name")?.as_str()
}

/// Returns the models that a configuration has take the place of one.
fn related<'a>(config: &'a Value, model: &'a str) -> impl Iterator<Item = &'a str> {
    let all = SECTIONS.into_iter().flat_map(|section| RELATIONS.map(|relation| (section, relation)));
    let entries = all.flat_map(|(section, relation)| relation_of(config, section, relation));
    entries.filter_map(move |entry| entry.get(model)?.as_array()).flatten().filter_map(Value::as_str)
}

/// Gives one model the route that it has in another configuration, or none.
fn replace(config: &mut Value, wished: &Value, model: &str) {
    let is_its = |deployment: &Value| name(deployment) == Some(model);
    config["model_list"] = spliced(deployments(config), deployments(wished), is_its).into();
    let is_its = |entry: &Value| entry.get(model).is_some();
    each_relation(config, |section, relation, entries| {
        spliced(&entries, relation_of(wished, section, relation), is_its)
    });
}

/// Returns a list whose own entries have taken the place of those it had, or stand at the end.
fn spliced(list: &[Value], wished: &[Value], own: impl Fn(&Value) -> bool) -> Vec<Value> {
    let place = list.iter().position(&own).unwrap_or(list.len());
    let (before, after) = list.split_at(place);
    let others = |list: &[Value]| list.iter().filter(|entry| !own(entry)).cloned().collect::<Vec<_>>();
    let wished = wished.iter().filter(|entry| own(entry)).cloned();
    others(before).into_iter().chain(wished).chain(others(after)).collect()
}

/// Lets nothing fall back to a model that has no route any more.
fn forget(config: &mut Value, gone: &[&str]) {
    each_relation(config, |_, _, mut entries| {
        for targets in entries.iter_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
            if let Some(targets) = targets.as_array_mut() {
                targets.retain(|target| !target.as_str().is_some_and(|target| gone.contains(&target)));
            }
        }
        entries.retain(|entry| !entry.as_object().is_some_and(|entry| entry.values().all(is_empty)));
        entries
    });
}

fn is_empty(targets: &Value) -> bool {
    targets.as_array().is_some_and(Vec::is_empty)
}

fn relation_of<'a>(config: &'a Value, section: &str, relation: &str) -> &'a [Value] {
    let list = config.get(section).and_then(|section| section.get(relation)).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Changes every relation between models.
fn each_relation(config: &mut Value, change: impl Fn(&str, &str, Vec<Value>) -> Vec<Value>) {
    for section in SECTIONS {
        for relation in RELATIONS {
            let before = relation_of(config, section, relation).to_vec();
            let after = change(section, relation, before.clone());
            if after != before {
                set_relation(config, section, relation, after);
            }
        }
    }
}

/// A relation of nobody, and a section of nothing, are left out, as they are where the configuration is made.
fn set_relation(config: &mut Value, section: &str, relation: &str, entries: Vec<Value>) {
    let Some(config) = config.as_object_mut() else { return };
    let known = config.entry(section).or_insert_with(|| Map::new().into());
    let Some(settings) = known.as_object_mut() else { return };
    if entries.is_empty() {
        settings.shift_remove(relation);
    } else {
        settings.insert(relation.to_owned(), entries.into());
    }
    if settings.is_empty() {
        config.shift_remove(section);
    }
}

/// Returns the content of an environment file with those variables of another that a configuration reads and it lacks.
fn with_keys(content: &Content, other: &Content, config: &str) -> Content {
    // Each variable is its name, its secret, and the end of its line.
    const PARTS: usize = 3;
    let mut pieces = content.0.clone();
    for variable in other.0.chunks(PARTS) {
        let Some(Piece::Text(begin)) = variable.first() else { continue };
        let Some((variable_name, _)) = begin.split_once('=') else { continue };
        let read = config.contains(&format!("os.environ/{variable_name}"));
        if read && !content.0.contains(&variable[0]) {
            pieces.extend_from_slice(variable);
        }
    }
    Content(pieces)
}
