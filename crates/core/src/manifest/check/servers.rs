//! Checks of well-formed values that no server can run with: unit names, programs, requirements, empty references,
//! limits of zero.

use super::checker::Checker;
use crate::manifest::common::{Common, RuntimeName};
use crate::manifest::values::SecretSource;
use crate::resource::{Note, SecretReference};
use std::collections::BTreeMap;
use std::ops::Range;

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let mut units: BTreeMap<&str, String> = BTreeMap::new();
    for entry in &manifest.providers {
        let path = format!("providers.{}", entry.name.value);
        server(checker, &path, entry.value.common(), &mut units);
        if let Some(key) = &entry.value.api_key {
            secret(checker, key, format!("{path}.api_key"), &entry.name.span);
        }
        let models = manifest.models.iter().filter(|model| model.value.provider.value == entry.name.value).count();
        let unit = entry.value.unit.as_ref().map(|unit| (unit.to_string(), &unit.span));
        let container = entry.value.container.as_ref().map(|container| (container.to_string(), &container.span));
        if let Some((unit, span)) = unit.or(container)
            && entry.value.engine.value.models().has_a_server_each()
            && models > 1
        {
            let message = format!("`{unit}` would name {models} servers, one for each model");
            let note = Note::error("name", message).hint("remove it, or give each model its own provider");
            checker.at(note, path, span);
        }
    }
    if let Some(cache) = &manifest.cache {
        server(checker, "cache", cache.common(), &mut units);
        if let Some(password) = &cache.password {
            secret(checker, password, "cache.password", &cache.span);
        }
        if let Some(memory) = cache.memory.as_ref().filter(|memory| memory.0.0 < 1 << 20) {
            let message = format!("{} is too little memory: the cache would treat it as no limit", memory.0);
            checker.at(Note::error("bad-value", message), "cache.memory", &memory.span);
        }
        let external = cache.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External);
        if let Some(endpoint) = cache.endpoint.as_ref().filter(|_| !external) {
            let note = Note::error("endpoint", "`endpoint` is for a server that llamero does not run");
            let hint = match cache.engine.value.port() {
                Some(_) => "remove it, or set `runtime: external`",
                None => "remove it, or set an `engine` that is a server and `runtime: external`",
            };
            checker.at(note.hint(hint), "cache.endpoint", &endpoint.span);
        }
    }
    if let Some(gateway) = &manifest.gateway {
        server(checker, "gateway", gateway.common(), &mut units);
        if let Some(key) = &gateway.master_key {
            secret(checker, key, "gateway.master_key", &gateway.span);
        }
    }
    for entry in &manifest.services {
        server(checker, &format!("services.{}", entry.name.value), entry.value.common(), &mut units);
    }
}

fn server<'a>(checker: &mut Checker<'_>, path: &str, common: Common<'a>, units: &mut BTreeMap<&'a str, String>) {
    if let Some(unit) = common.unit {
        let name: &str = &unit.value;
        let path = format!("{path}.unit");
        if let Some(other) = units.insert(name, path.clone()) {
            let message = format!("`{name}` names two units: this one and `{other}`");
            checker.at(Note::error("name", message).hint("rename one of them"), path, &unit.span);
        }
    }
    if let Some(command) = common.command.filter(|command| command.0.first().is_some_and(String::is_empty)) {
        let note = Note::error("command", "the first word of a command is the program, but it is empty");
        checker.at(note, format!("{path}.command"), &command.span);
    }
    let requirements = &common.install.python;
    for requirement in &requirements.0 {
        // pip parses an argument that begins with `-` as an option.
        if requirement.trim().is_empty() || requirement.trim_start().starts_with('-') {
            let note = Note::error("bad-value", format!("`{requirement}` is not a Python requirement"));
            checker.at(note.hint("write `name==1.2.3`"), format!("{path}.install.python"), &requirements.span);
        }
    }
    for entry in common.secrets {
        secret(checker, &entry.value, format!("{path}.secrets.{}", entry.name.value), &entry.name.span);
    }
    if let Some(timeout) = common.health.timeout.as_ref().filter(|timeout| timeout.0.milliseconds == 0) {
        let note = Note::error("bad-value", "`health.timeout` must be greater than 0");
        checker.at(note, format!("{path}.health.timeout"), &timeout.span);
    }
}

/// Checks that a reference to a secret is not empty.
fn secret(checker: &mut Checker<'_>, source: &SecretSource, path: impl AsRef<str>, span: &Range<usize>) {
    let empty = match &source.reference {
        SecretReference::Env(name) => name.trim().is_empty(),
        SecretReference::File(path) => path.as_os_str().is_empty(),
    };
    if empty {
        checker.at(Note::error("bad-value", "the reference to this secret is empty"), path, span);
    }
}
