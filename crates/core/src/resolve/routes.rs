//! What a gateway's configuration says of models: their routes, what takes their place, and the keys that they read.

use crate::render::yaml::read_yaml;
use crate::resource::{Content, Piece};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The sections of `LiteLLM`'s configuration in which models are related.
const SECTIONS: [&str; 2] = ["router_settings", "litellm_settings"];

/// The relations between models in them.
const RELATIONS: [&str; 3] = ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"];

/// Returns a configuration that has routes.
pub(super) fn configuration(content: &Content) -> Option<Value> {
    let [Piece::Text(text)] = content.0.as_slice() else { return None };
    read_yaml(text).filter(|config| config.get("model_list").is_some_and(Value::is_array))
}

pub(super) fn deployments(config: &Value) -> &[Value] {
    config.get("model_list").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn name(deployment: &Value) -> Option<&str> {
    deployment.get("model_name")?.as_str()
}

/// Returns whether two configurations have the same routes, whatever else they say.
pub(super) fn are_same(one: &Value, other: &Value) -> bool {
    let same = |(section, relation)| relation_of(one, section, relation) == relation_of(other, section, relation);
    deployments(one) == deployments(other) && relations().all(same)
}

/// Returns the models that a configuration has take the place of one.
pub(super) fn related<'a>(config: &'a Value, model: &'a str) -> impl Iterator<Item = &'a str> {
    let entries = relations().flat_map(|(section, relation)| relation_of(config, section, relation));
    entries.filter_map(move |entry| entry.get(model)?.as_array()).flatten().filter_map(Value::as_str)
}

/// Gives one model the route that it has in another configuration, or none.
pub(super) fn replace(config: &mut Value, declared: &Value, model: &str) {
    let is_its = |deployment: &Value| name(deployment) == Some(model);
    config["model_list"] = spliced(deployments(config), deployments(declared), is_its).into();
    let is_its = |entry: &Value| entry.get(model).is_some();
    each_relation(config, |section, relation, entries| {
        spliced(&entries, relation_of(declared, section, relation), is_its)
    });
}

/// Returns a list whose own entries have taken the place of those it had, or stand at the end.
fn spliced(list: &[Value], declared: &[Value], own: impl Fn(&Value) -> bool) -> Vec<Value> {
    let place = list.iter().position(&own).unwrap_or(list.len());
    let (before, after) = list.split_at(place);
    let others = |list: &[Value]| list.iter().filter(|entry| !own(entry)).cloned().collect::<Vec<_>>();
    let declared = declared.iter().filter(|entry| own(entry)).cloned();
    others(before).into_iter().chain(declared).chain(others(after)).collect()
}

/// Lets nothing fall back to a model that has no route any more.
pub(super) fn forget(config: &mut Value, gone: &[&str]) {
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

fn relations() -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS.into_iter().flat_map(|section| RELATIONS.map(|relation| (section, relation)))
}

fn relation_of<'a>(config: &'a Value, section: &str, relation: &str) -> &'a [Value] {
    let list = config.get(section).and_then(|section| section.get(relation)).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Changes every relation between models.
fn each_relation(config: &mut Value, change: impl Fn(&str, &str, Vec<Value>) -> Vec<Value>) {
    for (section, relation) in relations() {
        let before = relation_of(config, section, relation).to_vec();
        let after = change(section, relation, before.clone());
        if after != before {
            set(config, section, relation, Some(after.into()).filter(|after| !is_empty(after)));
        }
    }
}

/// Sets a key of a section, or takes it away. A section of nothing is left out, as it is where the configuration is made.
pub(super) fn set(config: &mut Value, section: &str, key: &str, value: Option<Value>) {
    let Some(config) = config.as_object_mut() else { return };
    let known = config.entry(section).or_insert_with(|| Map::new().into());
    let Some(settings) = known.as_object_mut() else { return };
    match value {
        Some(value) => drop(settings.insert(key.to_owned(), value)),
        None => drop(settings.shift_remove(key)),
    }
    if settings.is_empty() {
        config.shift_remove(section);
    }
}

/// Returns the variables that the routes of a configuration read their keys from, or that of one model.
pub(super) fn keys_of<'a>(config: &'a Value, model: Option<&str>) -> BTreeSet<&'a str> {
    let own = deployments(config).iter().filter(|deployment| model.is_none_or(|model| name(deployment) == Some(model)));
    let key =
        |deployment: &'a Value| deployment.pointer("/litellm_params/api_key")?.as_str()?.strip_prefix("os.environ/");
    own.filter_map(key).collect()
}
