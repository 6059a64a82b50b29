//! The desired state in which only the canary's route has changed: a change of routes is tried on it first.
//!
//! Routes are what the gateway's configuration says of models. All else is already as it will be, so the servers that
//! the new routes lead to are there; the other routes stay those of the committed generation, and so do the gateway's
//! settings.

use super::desired::{Canary, Desired};
use crate::engines::{self, Gateway, Route, Routing};
use crate::manifest::Manifest;
use crate::resource::{Content, HttpProbe, Piece, Probe, ResourceId, Seconds, SecretReference, Spec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The default duration of a canary's trial.
const CANARY_FOR: Seconds = Seconds::new(30);

/// The beginning of a change of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// With this desired state.
    Revision(Box<Desired>),
    /// The routes of other models change, and the canary's own does not.
    Others,
    /// The previous routes are not known.
    Unknown,
    /// No route changes, or there was none.
    Nothing,
}

/// The routes of the committed generation, and their servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PreviousRoutes {
    /// The routes that its gateway served.
    pub routing: Option<Routing>,
    /// The content of what its gateway reads.
    pub files: BTreeMap<ResourceId, Content>,
    /// The ports of its servers.
    pub ports: BTreeMap<ResourceId, Vec<u16>>,
}

impl PreviousRoutes {
    /// Returns whether a route leads to a server.
    #[must_use]
    pub fn leads_to(&self, id: &ResourceId) -> bool {
        let ports = self.ports.get(id).map(Vec::as_slice).unwrap_or_default();
        let routes = self.routing.iter().flat_map(|routing| &routing.routes);
        routes.filter_map(|route| route.port).any(|port| ports.contains(&port))
    }
}

/// Returns a model of a manifest as the one whose route changes first; `None` when there is no such model.
#[must_use]
pub fn canary(manifest: &Manifest, model: &str) -> Option<Canary> {
    let duration = manifest.policy.canary_for.as_ref().map_or(CANARY_FOR, |time| time.value.0);
    let mode = manifest.models.find(model)?.mode;
    Some(Canary { model: model.to_owned(), mode, duration })
}

impl Desired {
    /// Returns what the next generation must know of this one's routes.
    #[must_use]
    pub fn routes(&self) -> PreviousRoutes {
        let inputs = self.gateway().into_iter().flat_map(|(_, run)| &run.inputs);
        let files = inputs.filter_map(|input| Some((input.resource.clone(), self.content(&input.resource)?.clone())));
        let ports = self.runs().map(|(resource, run)| (resource.id.clone(), run.ports.clone()));
        PreviousRoutes { routing: self.routing.clone(), files: files.collect(), ports: ports.collect() }
    }

    /// Returns this desired state with the previous routes of all models but the canary's. Servers in `stopped` are no
    /// longer there by then.
    #[must_use]
    pub fn canary_first(&self, previous: &PreviousRoutes, stopped: &BTreeSet<ResourceId>) -> First {
        let (Some(canary), Some((id, run)), Some(declared)) = (&self.canary, self.gateway(), &self.routing) else {
            return First::Nothing;
        };
        if previous.files.is_empty() {
            return First::Nothing;
        }
        let engine = run.engine.as_ref().and_then(|name| engines::gateway(name.as_str()));
        let (Some(before), Some(engine)) = (&previous.routing, engine) else { return First::Unknown };
        let inputs = || run.inputs.iter().filter_map(|input| Some((&input.resource, self.content(&input.resource)?)));
        let keys = inputs().find(|(_, content)| content.is_secret());
        let previous_keys = keys.and_then(|(id, _)| previous.files.get(id));
        let read = declared.keys(Some(&canary.model));
        let same_key = |name: &&str| {
            let of = |content: Option<&Content>| content.and_then(|content| variable(content, name)?.1.clone().into());
            of(keys.map(|(_, content)| content)) == of(previous_keys)
        };
        let mut own = before.clone();
        own.replace(declared, &canary.model, engine.relations());
        if own.is_rendered_as(before) && read.iter().all(same_key) {
            return if before.has_routes_of(declared, engine.relations()) { First::Nothing } else { First::Others };
        }
        let mut mixed = self.mixed(engine, (&canary.model, before, declared), previous, stopped);
        // The cache is a server, and as it will be.
        for (section, key) in engine.cache_settings() {
            let value = declared.settings.get(*section).and_then(|settings| settings.get(*key));
            mixed.set(section, key, value.cloned());
        }
        mixed.files.clone_from(&declared.files);
        let mut first = self.clone();
        if !mixed.is_rendered_as(declared) {
            for id in &declared.files {
                first.set_content(id, Content::text(engine.render(&self.stack, &mixed)));
                if let Some(resource) = first.resources.get_mut(id) {
                    resource.origins.0.remove("content");
                    resource.origins.add("content", mixed.all_origins());
                }
            }
        }
        if let Some((id, content)) = keys {
            first.set_content(id, with_previous_keys(content, previous_keys, &mixed.keys(None), &read));
        }
        if let Some(Spec::Run(run)) = first.resources.get_mut(id).map(|resource| &mut resource.spec)
            && let Probe::Http(HttpProbe { models: Some(models), .. }) = &mut run.probe
        {
            models.names = mixed.models().map(str::to_owned).collect();
        }
        first.routing = Some(mixed);
        first.renew_inputs();
        first.trace_inputs();
        First::Revision(Box::new(first))
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

    /// Returns the previous configuration with the new route of one model, and of those that it falls back to and that
    /// had none. The route of a server that moves is the new one too: the previous one would lead nowhere, or to
    /// another.
    fn mixed(
        &self,
        engine: &dyn Gateway,
        (canary, before, declared): (&str, &Routing, &Routing),
        previous: &PreviousRoutes,
        stopped: &BTreeSet<ResourceId>,
    ) -> Routing {
        let mut mixed = before.clone();
        let moved = before.routes.iter().filter(|route| self.moves(route, previous, stopped));
        let moved = moved.map(|route| route.model.as_str());
        let mut renewed: Vec<&str> = std::iter::once(canary).chain(moved).collect();
        let mut next = 0;
        while let Some(model) = renewed.get(next).copied() {
            next += 1;
            mixed.replace(declared, model, engine.relations());
            let known: BTreeSet<&str> = before.models().collect();
            let missing: Vec<&str> = declared
                .fallbacks_of(model, engine.relations())
                .filter(|target| !known.contains(target) && !renewed.contains(target))
                .collect();
            renewed.extend(missing);
        }
        let still: BTreeSet<&str> = mixed.models().collect();
        let gone = before.models().filter(|name| !still.contains(name)).map(str::to_owned).collect();
        mixed.forget(&gone, engine.relations());
        mixed
    }

    /// Returns whether the server that a previous route led to will be elsewhere or gone, or another will be in its
    /// place.
    fn moves(&self, route: &Route, previous: &PreviousRoutes, stopped: &BTreeSet<ResourceId>) -> bool {
        let Some(port) = route.port else { return false };
        let before = previous.ports.iter().find(|(_, ports)| ports.contains(&port)).map(|(id, _)| id);
        let now = self.runs().find(|(_, run)| run.ports.contains(&port)).map(|(resource, _)| &resource.id);
        match (before, now) {
            // A server that the stack does not run, and as it was.
            (None, None) => false,
            // What is no longer declared goes only when all is healthy, unless it must make way.
            (Some(before), None) => self.resources.contains_key(before) || stopped.contains(before),
            (before, Some(now)) => before != Some(now),
        }
    }
}

/// The number of pieces of a variable in an environment file: its name, its secret, and the end of its line.
const PIECES: usize = 3;

/// Returns the pieces of a variable of an environment file, and what its secret refers to.
fn variable<'a>(content: &'a Content, name: &str) -> Option<(&'a [Piece], &'a SecretReference)> {
    let begin = format!("{name}=\"");
    content.0.chunks(PIECES).find_map(|pieces| match pieces {
        [Piece::Text(text), Piece::Secret { reference, .. }, ..] if *text == begin => Some((pieces, reference)),
        _ => None,
    })
}

/// Returns an environment file with the previous keys that previous routes read; `renewed` are those of the canary.
fn with_previous_keys(
    content: &Content,
    previous: Option<&Content>,
    read: &BTreeSet<&str>,
    renewed: &BTreeSet<&str>,
) -> Content {
    let mut pieces = content.0.clone();
    for name in read.difference(renewed) {
        let Some((before, reference)) = previous.and_then(|previous| variable(previous, name)) else { continue };
        match variable(content, name) {
            Some((_, now)) if now == reference => {}
            Some((now, _)) => {
                let place = pieces.chunks(PIECES).position(|pieces| pieces == now).unwrap_or_default() * PIECES;
                pieces.splice(place..place + PIECES, before.iter().cloned());
            }
            None => pieces.extend_from_slice(before),
        }
    }
    Content(pieces)
}
