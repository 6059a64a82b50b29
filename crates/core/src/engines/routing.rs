//! The routes and settings of a gateway as typed values. The gateway's engine renders them last.

use crate::resource::{Mode, Origin, ResourceId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The settings in which users of a gateway relate models to each other: their sections and names.
pub type Relations = &'static [(&'static str, &'static str)];

/// The route to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The name by which clients ask for it.
    pub model: String,
    /// The gateway's word for how to talk to the server, and the server's own name for the model.
    pub upstream: String,
    /// The server's address.
    pub address: String,
    /// The port of the server, where it is on this machine.
    pub port: Option<u16>,
    /// The variable with the server's key, if it asks for one.
    pub key: Option<String>,
    /// The purpose of the model.
    pub mode: Mode,
    /// The models that answer in its place when it cannot.
    pub fallbacks: Vec<String>,
    /// The settings of the manifest that it comes from.
    pub origins: Vec<Origin>,
}

/// The routes and the settings of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routing {
    /// Its routes, in the order in which clients see the models.
    pub routes: Vec<Route>,
    /// Its settings beside the routes, by the names that the gateway has for them.
    pub settings: Map<String, Value>,
    /// The settings of the manifest that those come from.
    pub origins: Vec<Origin>,
    /// The files that hold it.
    pub files: Vec<ResourceId>,
}

impl Route {
    /// Returns the route without where it comes from: what two routes are compared by.
    fn rendered(&self) -> Self {
        Self { origins: Vec::new(), ..self.clone() }
    }
}

impl Routing {
    /// Returns the settings of the manifest that the file's content comes from.
    pub fn all_origins(&self) -> impl Iterator<Item = Origin> {
        self.routes.iter().flat_map(|route| &route.origins).chain(&self.origins).cloned()
    }

    /// Returns the names of the models that it serves.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.model.as_str())
    }

    fn rendered(&self) -> (Vec<Route>, &Map<String, Value>) {
        (self.routes.iter().map(Route::rendered).collect(), &self.settings)
    }

    /// Returns whether two are rendered alike.
    #[must_use]
    pub fn is_rendered_as(&self, other: &Self) -> bool {
        self.rendered() == other.rendered()
    }

    /// Returns whether two have the same routes, whatever their other settings.
    #[must_use]
    pub fn has_routes_of(&self, other: &Self, relations: Relations) -> bool {
        let same = |&(section, relation): &_| self.relation(section, relation) == other.relation(section, relation);
        self.rendered().0 == other.rendered().0 && relations.iter().all(same)
    }

    /// Returns the models that take the place of one.
    pub fn fallbacks_of<'a>(&'a self, model: &'a str, relations: Relations) -> impl Iterator<Item = &'a str> {
        let route = self.routes.iter().filter(move |route| route.model == model);
        let entries = relations.iter().flat_map(|(section, relation)| self.relation(section, relation));
        let related = entries.filter_map(move |entry| entry.get(model)?.as_array()).flatten();
        route.flat_map(|route| route.fallbacks.iter().map(String::as_str)).chain(related.filter_map(Value::as_str))
    }

    /// Gives one model the route that it has in another, or none.
    pub fn replace(&mut self, declared: &Self, model: &str, relations: Relations) {
        self.routes = spliced(&self.routes, &declared.routes, |route| route.model == model);
        let is_its = |entry: &Value| entry.get(model).is_some();
        self.each_relation(relations, |section, relation, entries| {
            spliced(&entries, declared.relation(section, relation), is_its)
        });
    }

    /// Lets nothing fall back to a model that has no route.
    pub fn forget(&mut self, gone: &BTreeSet<String>, relations: Relations) {
        for route in &mut self.routes {
            route.fallbacks.retain(|target| !gone.contains(target));
        }
        self.each_relation(relations, |_, _, mut entries| {
            for targets in entries.iter_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
                if let Some(targets) = targets.as_array_mut() {
                    targets.retain(|target| !target.as_str().is_some_and(|target| gone.contains(target)));
                }
            }
            entries.retain(|entry| !entry.as_object().is_some_and(|entry| entry.values().all(is_empty)));
            entries
        });
    }

    /// Returns the variables that the routes read their keys from, or that of one model.
    #[must_use]
    pub fn keys(&self, model: Option<&str>) -> BTreeSet<&str> {
        let own = self.routes.iter().filter(|route| model.is_none_or(|model| route.model == model));
        own.filter_map(|route| route.key.as_deref()).collect()
    }

    /// Sets a setting of a section, or takes it away. A section without settings is left out.
    pub fn set(&mut self, section: &str, key: &str, value: Option<Value>) {
        let known = self.settings.entry(section).or_insert_with(|| Map::new().into());
        let Some(settings) = known.as_object_mut() else { return };
        match value {
            Some(value) => drop(settings.insert(key.to_owned(), value)),
            None => drop(settings.shift_remove(key)),
        }
        if settings.is_empty() {
            self.settings.shift_remove(section);
        }
    }

    fn relation(&self, section: &str, relation: &str) -> &[Value] {
        let list = self.settings.get(section).and_then(|section| section.get(relation)).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    }

    /// Changes every relation between models that the user's settings have.
    fn each_relation(&mut self, relations: Relations, change: impl Fn(&str, &str, Vec<Value>) -> Vec<Value>) {
        for &(section, relation) in relations {
            let before = self.relation(section, relation).to_vec();
            let after = change(section, relation, before.clone());
            if after != before {
                self.set(section, relation, Some(after.into()).filter(|after| !is_empty(after)));
            }
        }
    }
}

/// Returns a list whose own entries have taken the place of those that it had, or stand at the end.
fn spliced<T: Clone>(list: &[T], declared: &[T], own: impl Fn(&T) -> bool) -> Vec<T> {
    let place = list.iter().position(&own).unwrap_or(list.len());
    let (before, after) = list.split_at(place);
    let others = |list: &[T]| list.iter().filter(|entry| !own(entry)).cloned().collect::<Vec<_>>();
    let declared = declared.iter().filter(|entry| own(entry)).cloned();
    others(before).into_iter().chain(declared).chain(others(after)).collect()
}

fn is_empty(targets: &Value) -> bool {
    targets.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::{Relations, Route, Routing};
    use crate::resource::Mode;
    use serde_json::json;
    use std::collections::BTreeSet;

    const RELATIONS: Relations = &[("router", "fallbacks")];

    fn route(model: &str, fallbacks: &[&str]) -> Route {
        Route {
            model: model.to_owned(),
            upstream: format!("openai/{model}"),
            address: "http://127.0.0.1:1/v1".to_owned(),
            port: None,
            key: None,
            mode: Mode::Chat,
            fallbacks: fallbacks.iter().map(|name| (*name).to_owned()).collect(),
            origins: Vec::new(),
        }
    }

    fn routing() -> Routing {
        let mut routing = Routing { routes: vec![route("a", &["b", "c"]), route("b", &[])], ..Routing::default() };
        routing.set("router", "fallbacks", Some(json!([{"a": ["b", "c"]}, {"b": ["c"]}])));
        routing
    }

    #[test]
    fn nothing_falls_back_to_what_is_forgotten() {
        let mut routing = routing();
        routing.forget(&BTreeSet::from(["c".to_owned()]), RELATIONS);
        assert_eq!(routing.fallbacks_of("a", RELATIONS).collect::<Vec<_>>(), ["b", "b"]);
        assert_eq!(routing.settings["router"]["fallbacks"], json!([{"a": ["b"]}]));
        routing.forget(&BTreeSet::from(["b".to_owned()]), RELATIONS);
        assert_eq!(routing.fallbacks_of("a", RELATIONS).count(), 0);
        // A section without settings is left out.
        assert!(routing.settings.is_empty());
    }

    #[test]
    fn one_model_gets_the_route_and_the_relations_of_another_state() {
        let before = routing();
        let mut routing = before.clone();
        let mut declared = Routing { routes: vec![route("b", &["a"])], ..Routing::default() };
        declared.set("router", "fallbacks", Some(json!([{"b": ["a"]}])));
        routing.replace(&declared, "b", RELATIONS);
        assert_eq!(routing.models().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(routing.settings["router"]["fallbacks"], json!([{"a": ["b", "c"]}, {"b": ["a"]}]));
        assert!(!routing.has_routes_of(&before, RELATIONS) && routing.has_routes_of(&routing.clone(), RELATIONS));
        // Relations alone make a difference.
        let same_routes = Routing { routes: routing.routes.clone(), ..Routing::default() };
        assert!(!routing.has_routes_of(&same_routes, RELATIONS) && routing.has_routes_of(&same_routes, &[]));
    }
}
