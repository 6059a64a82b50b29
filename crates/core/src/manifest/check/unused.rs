//! Fields that are known and have no effect here. Whether a field has one depends on the engine, on the runtime, and on
//! who runs the server: the tables are here, and every field has its effect, its error, or its warning.

use super::checker::Checker;
use crate::engines::Models;
use crate::manifest::common::RuntimeName;
use crate::manifest::types::{Provider, Service};
use crate::manifest::yaml::Node;
use crate::resource::Note;
use std::collections::BTreeSet;
use std::ops::Range;

/// The runtimes with which each field has an effect that everything shares that runs.
const COMMON: &[(&str, &[RuntimeName])] = &[
    ("command", &RUN),
    ("args", &RUN),
    ("env", &RUN),
    ("secrets", &RUN),
    ("image", &[RuntimeName::Docker]),
    ("install", &[RuntimeName::Systemd, RuntimeName::Process]),
    // Of a process, resolving warns of them.
    ("limits", &RUN),
    ("health", &RUN),
    ("unit", &[RuntimeName::Systemd]),
    ("container", &[RuntimeName::Docker]),
    ("volumes", &[RuntimeName::Docker]),
    ("network", &[RuntimeName::Docker]),
    ("user", &[RuntimeName::Docker]),
    ("read_only", &[RuntimeName::Docker]),
    ("shm_size", &[RuntimeName::Docker]),
    ("adopt", &RUN),
];

const RUN: [RuntimeName; 3] = [RuntimeName::Systemd, RuntimeName::Docker, RuntimeName::Process];

const ELSEWHERE: &str = "llamero does not run this server";

/// The reason why a field has no effect, and the remedy.
struct Unused {
    why: String,
    hint: String,
}

impl Unused {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: "remove it".to_owned() }
    }
}

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let mut found = Vec::new();
    for entry in &manifest.providers {
        let path = format!("providers.{}", entry.name.value);
        found.extend(unused(checker, &path, |key| provider(&entry.value, key)));
    }
    for entry in &manifest.models {
        let Some(provider) = manifest.providers.find(&entry.value.provider) else { continue };
        let path = format!("models.{}", entry.name.value);
        found.extend(unused(checker, &path, |key| model(provider, key)));
    }
    if let Some(cache) = &manifest.cache {
        let runtime = cache.runtime.as_ref().map(|runtime| runtime.value);
        let is_server = cache.engine.value.port().is_some();
        found.extend(unused(checker, "cache", |key| cache_field(is_server, cache.engine.value.title(), runtime, key)));
    }
    if let Some(gateway) = &manifest.gateway {
        let runtime = gateway.runtime.as_ref().map(|runtime| runtime.value);
        found.extend(unused(checker, "gateway", |key| common(runtime, key)));
    }
    for entry in &manifest.services {
        let path = format!("services.{}", entry.name.value);
        found.extend(unused(checker, &path, |key| service(&entry.value, key)));
    }
    // What is wrong is reported already, and by its own name.
    let known: BTreeSet<String> =
        checker.notes.iter().filter_map(|note| Some(note.place.as_ref()?.path.clone())).collect();
    for (key, path, span, unused) in found {
        let inner = format!("{path}.");
        let reported = known.range(path.clone()..).take_while(|known| known.starts_with(&path));
        if !reported.into_iter().any(|known| *known == path || known.starts_with(&inner)) {
            let note = Note::warning("unused", format!("`{key}` has no effect: {}", unused.why)).hint(unused.hint);
            checker.at(note, path, &span);
        }
    }
}

/// Returns the fields under a path that have no effect, with their places.
fn unused(
    checker: &Checker<'_>,
    path: &str,
    why: impl Fn(&str) -> Option<Unused>,
) -> Vec<(String, String, Range<usize>, Unused)> {
    let mut found = Vec::new();
    let entries = checker.node(path).map(Node::entries).unwrap_or_default();
    for (key, node) in entries {
        match why(&key.text) {
            Some(unused) => found.push((key.text.clone(), format!("{path}.{}", key.text), key.span.clone(), unused)),
            None => {
                for (inner, _) in node.entries() {
                    let name = format!("{}.{}", key.text, inner.text);
                    if let Some(unused) = why(&name) {
                        found.push((name.clone(), format!("{path}.{name}"), inner.span.clone(), unused));
                    }
                }
            }
        }
    }
    found
}

/// Returns why a field that everything shares that runs has no effect with a runtime.
fn common(runtime: Option<RuntimeName>, key: &str) -> Option<Unused> {
    if key == "health.path" {
        return Some(Unused::because("the engine has its own question for health"));
    }
    let runtime = runtime?;
    let (_, runtimes) = COMMON.iter().find(|(name, _)| *name == key)?;
    match runtime {
        runtime if runtimes.contains(&runtime) => None,
        RuntimeName::External => Some(Unused::because(ELSEWHERE)),
        runtime => Some(Unused::because(format!("it is not supported with `runtime: {}`", runtime.as_str()))),
    }
}

fn provider(provider: &Provider, key: &str) -> Option<Unused> {
    let external = provider.is_external();
    let runtime = if external { Some(RuntimeName::External) } else { provider.runtime.as_ref().map(|it| it.value) };
    match key {
        "port" | "gpus" | "memory" | "sleep" | "settings" if external => Some(Unused::because(ELSEWHERE)),
        "api_key" if !external => {
            Some(Unused::because("it is the key of a server that llamero does not run")).filter(|_| runtime.is_some())
        }
        "manage" if !external && provider.engine.value.models() == Models::Pulled => {
            Some(Unused::because("llamero runs this server, and manages its models anyway"))
        }
        _ => common(runtime, key),
    }
}

fn model(provider: &Provider, key: &str) -> Option<Unused> {
    let engine = provider.engine.value.0;
    let fields = engine.model_fields();
    let always = matches!(key, "provider" | "source" | "mode" | "fallbacks");
    if always || !MODEL.contains(&key) {
        return None;
    }
    let managed = engine.models() == Models::Pulled && provider.manage.is_some();
    if provider.is_external() && !managed {
        let hint = "remove it, or write `manage: models` for its provider";
        let can = engine.models() == Models::Pulled && fields.used.contains(&key);
        let unused = Unused::because(ELSEWHERE);
        return Some(if can { Unused { hint: hint.to_owned(), ..unused } } else { unused });
    }
    if fields.used.contains(&key) {
        return None;
    }
    let instead = fields.instead.iter().find(|(name, _)| *name == key);
    let unused = Unused::because(format!("{} has no use for it", engine.title()));
    Some(instead.map_or(unused.hint.clone(), |(_, instead)| format!("write {instead}")))
        .map(|hint| Unused { hint, ..unused })
}

/// The fields of a model that only some engines use.
const MODEL: &[&str] = &[
    "sha256",
    "context",
    "parallel",
    "gpu_layers",
    "kv_cache_type",
    "flash_attention",
    "port",
    "load",
    "args",
    "insecure",
    "parameters",
    "template",
    "system",
];

fn cache_field(is_server: bool, title: &str, runtime: Option<RuntimeName>, key: &str) -> Option<Unused> {
    let of_a_server = matches!(key, "port" | "memory" | "endpoint" | "password");
    if !is_server && (of_a_server || COMMON.iter().any(|(name, _)| *name == key)) {
        return Some(Unused::because(format!("{title} is no server")));
    }
    match key {
        "port" | "memory" if runtime == Some(RuntimeName::External) => Some(Unused::because(ELSEWHERE)),
        _ => common(runtime, key),
    }
}

fn service(service: &Service, key: &str) -> Option<Unused> {
    let runtime = service.runtime.as_ref().map(|runtime| runtime.value);
    let external = runtime == Some(RuntimeName::External);
    match key {
        "after" | "working_directory" if external => Some(Unused::because(ELSEWHERE)),
        "health.path" if external => Some(Unused::because(ELSEWHERE)),
        "health.path" if service.ports.is_empty() => {
            Some(Unused { why: "there is no port to ask".to_owned(), hint: "write `ports` too".to_owned() })
        }
        "health.path" => None,
        _ => common(runtime, key),
    }
}
