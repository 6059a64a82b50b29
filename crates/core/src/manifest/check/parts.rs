//! Checks of each part on its own: names, addresses, digests, plaintext secrets, and combinations of engine and
//! runtime.

use super::checker::Checker;
use super::shared::{self, Server};
use crate::engines::Models;
use crate::manifest::common::RuntimeName;
use crate::manifest::names::is_stack_name;
use crate::manifest::types::Rollout;
use crate::resource::Note;
use std::ops::Range;

const NAME_HINT: &str = "use lower-case letters, digits and `-`, 32 at most, a letter first";

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    if manifest.version.value != 1 {
        let message = format!("manifest version {} is not supported", manifest.version.value);
        checker.at(Note::error("version", message).hint("write `version: 1`"), "version", &manifest.version.span);
    }
    if !is_stack_name(&manifest.stack) {
        let message = format!("`{}` is not a valid stack name", manifest.stack.value);
        checker.at(Note::error("stack-name", message).hint(NAME_HINT), "stack", &manifest.stack.span);
    }
    let sections = ["providers", "services"];
    let declares = |section: &&str| !checker.is_mapping(section) || !checker.names(section).is_empty();
    if !sections.iter().any(declares) && checker.tree.field("gateway").is_none() {
        checker.notes.push(
            Note::error("nothing-declared", "the manifest declares no server")
                .hint("declare `providers` and `models`; `llamero schema` describes them"),
        );
    }
    providers(checker);
    models(checker);
    cache(checker);
    gateway(checker);
    rollout(checker);
    for service in &manifest.services {
        let path = format!("services.{}", service.name.value);
        name(checker, &service.name.value, &path, &service.name.span);
        let common = service.value.common();
        let server = Server { path: &path, common, span: &service.name.span };
        shared::check_runtime(checker, &server);
        shared::check(checker, &server);
        let runs = |runtime: RuntimeName| matches!(runtime, RuntimeName::Systemd | RuntimeName::Process);
        let no_command = !checker.declares(&path, "command") && common.image.is_none();
        if no_command && common.runtime.is_some_and(|runtime| runs(runtime.value)) {
            let note = Note::error("missing-field", "a service needs a `command`");
            checker.at(note.hint("write `command: [program, argument, …]`"), &path, &service.name.span);
        }
    }
}

fn name(checker: &mut Checker<'_>, text: &str, path: &str, span: &Range<usize>) {
    if !is_stack_name(text) {
        let note = Note::error("name", format!("`{text}` is not a valid name"));
        checker.at(note.hint(NAME_HINT), path, span);
    }
}

fn rollout(checker: &mut Checker<'_>) {
    let policy = &checker.manifest.policy;
    let at = checker.key("policy.rollout").unwrap_or_default();
    if policy.rollout == Rollout::Canary {
        if !checker.declares("policy", "canary") {
            let note = Note::error(
                "missing-field",
                "`rollout: canary` requires `canary`, the model whose route changes first",
            );
            checker.at(note.hint("write `canary: MODEL`"), "policy.rollout", &at);
        }
        if checker.tree.field("gateway").is_none() {
            let note = Note::error("unused", "without a gateway there are no routes to change");
            checker.at(note.hint("remove `rollout`"), "policy.rollout", &at);
        }
    } else if let Some(canary) = &policy.canary {
        let note = Note::warning("unused", "`canary` has no effect: all routes change at once");
        checker.at(note.hint("also set `rollout: canary`"), "policy.canary", &canary.span);
    }
}

fn providers(checker: &mut Checker<'_>) {
    for entry in &checker.manifest.providers {
        let path = format!("providers.{}", entry.name.value);
        let provider = &entry.value;
        let span = &entry.name.span;
        name(checker, &entry.name.value, &path, span);
        let engine = provider.engine.value;
        let runtime = provider.runtime.as_ref().map(|runtime| runtime.value);
        let external = engine.models() == Models::Upstream || runtime == Some(RuntimeName::External);
        let server = Server { path: &path, common: provider.common(), span };
        if engine.models() != Models::Upstream {
            shared::check_runtime(checker, &server);
        }
        shared::check(checker, &server);
        if let (Models::Upstream, Some(runtime)) = (engine.models(), &provider.runtime)
            && runtime.value != RuntimeName::External
        {
            let note = Note::error(
                "runtime",
                format!("`{}` is an endpoint to route to, not a server that llamero runs", engine.name()),
            );
            checker.at(note.hint("set `runtime: external`, or remove it"), format!("{path}.runtime"), &runtime.span);
        }
        if let (Some(key), Some(_)) = (&provider.api_key, provider.manage.as_ref().filter(|_| external)) {
            let span = checker.key(&format!("{path}.api_key")).unwrap_or_else(|| span.clone());
            let note = Note::error("api-key", format!("llamero cannot send a key, such as {key}, to manage models"));
            let hint = "remove `manage` to only route to this server, or `api_key` if the server requires none";
            checker.at(note.hint(hint), format!("{path}.api_key"), &span);
        }
        if provider.sleep.value && (external || engine.sleep("").is_none()) {
            let note = Note::error("sleep", "`sleep` is supported only for a vLLM server that llamero runs");
            checker.at(note.hint("remove it"), format!("{path}.sleep"), &provider.sleep.span);
        }
        match &provider.endpoint {
            None if external && !checker.declares(&path, "endpoint") => {
                let note = Note::error("missing-field", "`endpoint` is missing");
                checker.at(note.hint("set the address, such as `endpoint: http://127.0.0.1:11434`"), &path, span);
            }
            Some(endpoint) if !external => {
                let note = Note::error("endpoint", "`endpoint` is for a server that llamero does not run");
                let hint = "leave it out, or write `runtime: external`";
                checker.at(note.hint(hint), format!("{path}.endpoint"), &endpoint.span);
            }
            _ => {}
        }
        if !external && !checker.declares(&path, "port") {
            let note = Note::error("missing-field", "`port` is missing");
            checker.at(note.hint("set the port that it listens on, such as `port: 8000`"), &path, span);
        }
    }
}

fn models(checker: &mut Checker<'_>) {
    for entry in &checker.manifest.models {
        let name = &entry.name.value;
        let valid = (1..=128).contains(&name.len())
            && !name.starts_with('-')
            && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !valid {
            let note = Note::error("name", format!("`{}` is not a valid model name", name.escape_debug()));
            // It is an argument of a command, and the value of an HTTP header.
            let hint = "use 1 to 128 printable ASCII characters, without white space and without a leading `-`";
            checker.at(note.hint(hint), format!("models.{name}"), &entry.name.span);
        }
    }
}

fn cache(checker: &mut Checker<'_>) {
    let Some(cache) = &checker.manifest.cache else { return };
    match cache.engine.value.port() {
        Some(port) => {
            let server = Server { path: "cache", common: cache.common(), span: &cache.span };
            shared::check_runtime(checker, &server);
            shared::check(checker, &server);
            let external = cache.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External);
            if external && !checker.declares("cache", "endpoint") {
                let note = Note::error("missing-field", "`endpoint` is missing");
                checker.at(
                    note.hint(format!("set the address of that server, such as `endpoint: 127.0.0.1:{port}`")),
                    "cache",
                    &cache.span,
                );
            }
            if !external && cache.password.is_some() {
                let note = Note::error("endpoint", "`password` is for a Redis that llamero does not run");
                let span = checker.key("cache.password").unwrap_or_else(|| cache.span.clone());
                checker.at(note.hint("remove it: the stack's own Redis listens on loopback"), "cache.password", &span);
            }
        }
        None => {
            let common = cache.common();
            if let Some(runtime) = common.runtime {
                let engine = cache.engine.value.name();
                let note =
                    Note::error("runtime", format!("`engine: {engine}` is part of the gateway and has no runtime"));
                checker.at(
                    note.hint("remove `runtime`, or set an `engine` that is a server"),
                    "cache.runtime",
                    &runtime.span,
                );
            }
        }
    }
    if checker.manifest.gateway.is_none() {
        let note = Note::warning("unused", "the cache has no effect without a gateway");
        checker.at(note, "cache", &cache.span);
    }
}

fn gateway(checker: &mut Checker<'_>) {
    let Some(gateway) = &checker.manifest.gateway else { return };
    let server = Server { path: "gateway", common: gateway.common(), span: &gateway.span };
    shared::check_runtime(checker, &server);
    shared::check(checker, &server);
    if gateway.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External) {
        let note = Note::error("runtime", "a gateway that llamero does not run cannot be given a configuration");
        let span = gateway.runtime.as_ref().map_or(&gateway.span, |runtime| &runtime.span);
        checker.at(note.hint("remove `gateway`"), "gateway.runtime", span);
    }
    if !checker.declares("gateway", "master_key") {
        let note = Note::error("missing-field", "`master_key` is missing: LiteLLM does not start without one");
        let hint = "write `master_key: {file: ~/.config/llamero/master-key, generate: true}`";
        checker.at(note.hint(hint), "gateway", &gateway.span);
    }
    if checker.manifest.models.0.is_empty() {
        checker.at(Note::warning("unused", "the gateway has no models to offer"), "gateway", &gateway.span);
    }
    let (settings, engine) = (&gateway.settings, gateway.engine.value.0);
    if !settings.0.is_object() && !settings.0.is_null() {
        let note = Note::error("wrong-type", format!("`settings` must be a mapping of {}'s sections", engine.title()));
        checker.at(note.hint(format!("write `{}`", engine.raw_settings())), "gateway.settings", &settings.span);
    }
    for (pointer, section) in engine.rendered_settings() {
        if settings.0.pointer(pointer).is_some() {
            let key = pointer.trim_start_matches('/').replace('/', ".");
            let note = Note::error("clash", format!("llamero renders `{key}` itself"));
            let path = format!("gateway.settings.{key}");
            let span = checker.key(&path).unwrap_or_else(|| settings.span.clone());
            checker.at(note.hint(format!("set it under `{section}`")), path, &span);
        }
    }
}
