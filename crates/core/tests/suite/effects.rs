//! Every field on every engine and runtime: it changes what is resolved, or it is reported. Nothing is accepted without
//! an effect.

use crate::manifest_cases::notes;
use llamero_core::engines::{CACHES, GATEWAYS, Models, PROVIDERS, Provider};
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::{Facts, Routing, resolve};
use llamero_core::resource::{Note, Origins, Resource, Spec};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const RUNTIMES: [&str; 4] = ["systemd", "process", "docker", "external"];

/// A value for each field that everything shares that runs; where a base gives the field, a second one.
const COMMON: &[(&str, &str)] = &[
    ("command", r#"["/opt/program"]"#),
    ("args", r#"["--extra"]"#),
    ("env", r#"{"NAME": "value"}"#),
    ("secrets", r#"{"TOKEN": {"env": "TOKEN"}}"#),
    ("image", r#""example/other:2""#),
    ("install", r#"{"python": ["package==1"]}"#),
    ("limits", r#"{"memory": "1GiB"}"#),
    ("limits", r#"{"cpus": 2}"#),
    ("health", r#"{"path": "/ready"}"#),
    ("health", r#"{"timeout": "77s"}"#),
    ("health", r#"{"stable_for": "33s"}"#),
    ("unit", r#""other""#),
    ("container", r#""other""#),
    ("volumes", r#"["data:/data"]"#),
    ("user", r#""1000""#),
    ("read_only", "true"),
    ("shm_size", r#""1GiB""#),
    ("adopt", "true"),
];

const PROVIDER: &[(&str, &str)] = &[
    ("port", "8100"),
    ("gpus", "[0]"),
    ("memory", r#""8GiB""#),
    ("sleep", "true"),
    ("settings", r#"{"timeout": 600}"#),
    ("endpoint", r#""http://other.lan:9100/v1""#),
    ("api_key", r#"{"env": "KEY"}"#),
    ("manage", r#""models""#),
];

const MODEL: &[(&str, &str)] = &[
    ("source", r#""other""#),
    ("source", r#""hf:org/other""#),
    ("source", r#""hf:org/other/file.gguf""#),
    ("source", r#""file:/models/other""#),
    ("source", r#""https://host.lan/other.gguf""#),
    ("source", r#"{"command": ["make", "{path}"]}"#),
    ("sha256", r#""0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef""#),
    ("context", "2048"),
    ("parallel", "2"),
    ("gpu_layers", "3"),
    ("kv_cache_type", r#""q8_0""#),
    ("flash_attention", "true"),
    ("mode", r#""embedding""#),
    ("port", "8200"),
    ("fallbacks", r#"["other"]"#),
    ("load", r#""pinned""#),
    ("args", r#"["--extra"]"#),
    ("insecure", "true"),
    ("parameters", r#"{"temperature": 0.5}"#),
    ("template", r#""{{ .Prompt }}""#),
    ("system", r#""Be brief.""#),
];

const CACHE: &[(&str, &str)] = &[
    ("port", "6400"),
    ("memory", r#""64MiB""#),
    ("ttl", r#""1h""#),
    ("endpoint", r#""other.lan:6379""#),
    ("password", r#"{"env": "PASSWORD"}"#),
];

const GATEWAY: &[(&str, &str)] = &[
    ("port", "4100"),
    ("config", r#""/etc/other.yaml""#),
    ("also_at", r#"["/etc/another.yaml"]"#),
    ("master_key", r#"{"env": "OTHER_KEY"}"#),
    ("allowed_fails", "2"),
    ("cooldown", r#""40s""#),
    ("retries", "3"),
    ("settings", r#"{"litellm_settings": {"drop_params": true}}"#),
];

const SERVICE: &[(&str, &str)] =
    &[("ports", "[3100]"), ("after", r#"["gateway"]"#), ("working_directory", r#""/srv""#)];

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("a sample is JSON")
}

/// Returns what is resolved, without the settings that it comes from.
fn resolved(text: &str) -> (Vec<Resource>, Option<Routing>) {
    let (manifest, _) = manifest::read(text);
    let manifest = manifest.expect("it is valid");
    let facts = Facts::assumed(&manifest, crate::manifest_cases::directories());
    let desired = resolve(&manifest, &LockFile::default(), &facts).0;
    let plain = |resource: Resource| Resource { origins: Origins::default(), ..resource };
    let routing = desired.routing.map(|routing| {
        let routes = routing.routes.into_iter().map(|mut route| {
            route.origins.clear();
            route
        });
        Routing { routes: routes.collect(), origins: Vec::new(), ..routing }
    });
    (desired.resources.into_values().map(plain).collect(), routing)
}

/// Sets a field at a path of a manifest, beside what stands there.
fn with(base: &Value, path: &[&str], field: &str, given: Value) -> Value {
    let mut manifest = base.clone();
    let node = path.iter().fold(&mut manifest, |node, key| &mut node[*key]);
    match (&mut node[field], given) {
        (Value::Object(known), Value::Object(more)) => known.extend(more),
        (known, given) => *known = given,
    }
    manifest
}

/// The network that is not the default one, of engines and of services.
const ENGINE_NETWORK: &[(&str, &str)] = &[("network", r#""bridge""#)];
const SERVICE_NETWORK: &[(&str, &str)] = &[("network", r#""host""#)];

/// Checks that a field has an effect, or is reported. Returns what is wrong.
fn problem(base: &Value, path: &[&str], (field, given): (&str, &str)) -> Option<String> {
    let text = with(base, path, field, value(given)).to_string();
    let at = format!("{}.{field}", path.join("."));
    let (before, after) = (notes(&base.to_string()), notes(&text));
    let is_new = |note: &&Note| !before.iter().any(|known| known.message == note.message);
    let new: Vec<&Note> = after.iter().filter(is_new).collect();
    let about = |note: &&Note| note.place.as_ref().is_some_and(|place| place.path.starts_with(&at));
    if new.iter().any(about) {
        return None;
    }
    if let Some(note) = new.iter().find(|note| note.is_error()) {
        // A mistake of which the field is one half is reported where the other half stands.
        return note.hint.is_none().then(|| format!("{at}: {given} is an error elsewhere: {}", note.message));
    }
    let same = resolved(&base.to_string()) == resolved(&text);
    same.then(|| format!("{at}: {given} is accepted and has no effect\n  {base}"))
}

fn check(base: &Value, path: &[&str], fields: &[(&str, &str)], problems: &mut Vec<String>) {
    let errors: Vec<Note> = notes(&base.to_string()).into_iter().filter(Note::is_error).collect();
    assert!(errors.is_empty(), "{base}: {errors:?}");
    problems.extend(fields.iter().filter_map(|field| problem(base, path, *field)));
}

/// Returns a manifest with a gateway and one more section.
fn manifest(section: &str, content: Value) -> Value {
    let mut manifest = json!({
        "version": 1,
        "stack": "home",
        "gateway": { "engine": "litellm", "runtime": "process", "master_key": { "env": "MASTER_KEY" } },
    });
    manifest[section] = content;
    manifest
}

fn runs(fields: &mut Map<String, Value>, runtime: &str) {
    fields.insert("runtime".to_owned(), runtime.into());
    if runtime == "docker" {
        fields.insert("image".to_owned(), "example/image:1".into());
    }
}

fn provider(engine: &dyn Provider, runtime: &str, managed: bool) -> Value {
    let mut fields = Map::from_iter([("engine".to_owned(), engine.name().into())]);
    runs(&mut fields, runtime);
    if runtime == "external" {
        fields.insert("endpoint".to_owned(), "http://127.0.0.1:9000".into());
    } else {
        fields.insert("port".to_owned(), 8000.into());
    }
    if managed {
        fields.insert("manage".to_owned(), "models".into());
    }
    let source = match engine.models() {
        Models::File if runtime != "external" => Some("file:/models/m.gguf"),
        Models::Repository if runtime != "external" => Some("hf:org/model"),
        _ => None,
    };
    let mut model = json!({ "provider": "it" });
    if let Some(source) = source {
        model["source"] = source.into();
    }
    let mut manifest = manifest("providers", json!({ "it": fields }));
    manifest["models"] = json!({ "one": model, "other": model });
    manifest
}

#[test]
fn every_field_of_a_provider_and_its_models_has_an_effect_or_a_note() {
    let mut problems = Vec::new();
    for engine in PROVIDERS {
        for runtime in RUNTIMES {
            if engine.models() == Models::Upstream && runtime != "external" {
                let notes = notes(&provider(*engine, runtime, false).to_string());
                assert!(notes.iter().any(|note| note.is_error() && note.code == "runtime"), "{notes:?}");
                continue;
            }
            for managed in [false, engine.models() == Models::Pulled && runtime == "external"] {
                let base = provider(*engine, runtime, managed);
                check(&base, &["providers", "it"], COMMON, &mut problems);
                check(&base, &["providers", "it"], ENGINE_NETWORK, &mut problems);
                let own = PROVIDER.iter().filter(|(field, _)| !(managed && *field == "manage"));
                check(&base, &["providers", "it"], &own.copied().collect::<Vec<_>>(), &mut problems);
                check(&base, &["models", "one"], MODEL, &mut problems);
                let settings: Vec<String> =
                    engine.settings().known.iter().map(|setting| setting.name.to_owned()).collect();
                for name in settings.iter().filter(|_| runtime != "external") {
                    let samples = ["true", "3", "0.5", r#""word""#, r#""/a/path""#];
                    let fits =
                        |sample: &&&str| engine.settings().read(&json!({ name.as_str(): value(sample) })).1.is_empty();
                    let sample = samples.iter().find(fits).expect("a value that fits");
                    let field = format!("{{\"{name}\": {sample}}}");
                    check(&base, &["providers", "it"], &[("settings", &field)], &mut problems);
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_field_of_a_cache_has_an_effect_or_a_note() {
    let mut problems = Vec::new();
    for engine in CACHES {
        let runtimes: &[&str] = if engine.port().is_some() { &RUNTIMES } else { &[""] };
        for runtime in runtimes {
            let mut fields = Map::from_iter([("engine".to_owned(), engine.name().into())]);
            if !runtime.is_empty() {
                runs(&mut fields, runtime);
            }
            if *runtime == "external" {
                fields.insert("endpoint".to_owned(), "cache.lan:6379".into());
            }
            let base = manifest("cache", fields.into());
            check(&base, &["cache"], COMMON, &mut problems);
            check(&base, &["cache"], ENGINE_NETWORK, &mut problems);
            check(&base, &["cache"], CACHE, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_field_of_a_gateway_and_of_a_service_has_an_effect_or_a_note() {
    let mut problems = Vec::new();
    for runtime in RUNTIMES {
        for engine in GATEWAYS {
            let mut fields = Map::from_iter([
                ("engine".to_owned(), engine.name().into()),
                ("master_key".to_owned(), json!({ "env": "MASTER_KEY" })),
            ]);
            runs(&mut fields, runtime);
            let base = manifest("gateway", fields.into());
            if runtime == "external" {
                assert!(notes(&base.to_string()).iter().any(|note| note.is_error() && note.code == "runtime"));
                continue;
            }
            check(&base, &["gateway"], COMMON, &mut problems);
            check(&base, &["gateway"], GATEWAY, &mut problems);
        }
        for ports in [None, Some("[3000]")] {
            let mut fields = Map::new();
            runs(&mut fields, runtime);
            if matches!(runtime, "systemd" | "process") {
                fields.insert("command".to_owned(), json!(["program"]));
            }
            let mut reader = json!({ "runtime": "process", "command": ["program"] });
            if let Some(ports) = ports {
                fields.insert("ports".to_owned(), value(ports));
                reader["env"] = json!({ "URL": "${services.it.url}" });
            }
            let base = manifest("services", json!({ "it": fields, "reader": reader }));
            check(&base, &["services", "it"], COMMON, &mut problems);
            check(&base, &["services", "it"], SERVICE_NETWORK, &mut problems);
            // The port of a server that llamero does not run has an effect where something refers to it.
            if runtime != "external" || ports.is_some() {
                check(&base, &["services", "it"], SERVICE, &mut problems);
            }
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

/// Every flag and variable that is rendered is listed by its engine: as one that the manifest must not give again, as a
/// default, or as a setting.
#[test]
fn every_rendered_flag_and_variable_is_listed_by_its_engine() {
    let mut problems = BTreeSet::new();
    for engine in PROVIDERS.iter().filter(|engine| engine.models() != Models::Upstream) {
        let (text, name) = (crate::written::provider(*engine, "process"), engine.name());
        let text = format!("version: 1\nstack: home\n{text}");
        problems.extend(unlisted(&text, name, engine.renders()));
    }
    for engine in CACHES.iter().filter(|engine| engine.port().is_some()) {
        let cache = json!({ "engine": engine.name(), "runtime": "process", "port": 6400, "memory": "64MiB" });
        problems.extend(unlisted(&manifest("cache", cache).to_string(), engine.name(), engine.renders()));
    }
    for engine in GATEWAYS {
        let master_key = json!({ "env": "KEY" });
        let gateway = json!({ "engine": engine.name(), "runtime": "process", "master_key": master_key });
        problems.extend(unlisted(&manifest("gateway", gateway).to_string(), engine.name(), engine.renders()));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

fn unlisted(text: &str, name: &str, rendered: &llamero_core::engines::Rendered) -> Vec<String> {
    let (resources, _) = resolved(text);
    let runs = resources.iter().filter_map(|resource| match &resource.spec {
        Spec::Run(run) if run.engine.as_ref().is_some_and(|engine| engine.as_str() == name) => Some(run),
        _ => None,
    });
    let mut unlisted = Vec::new();
    for run in runs {
        let flags = run.command.argv().into_iter().filter(|word| word.starts_with('-'));
        unlisted.extend(flags.filter(|flag| {
            let listed = rendered.flag(flag).is_some() || rendered.setting_of_flag(flag).is_some();
            !listed && !rendered.defaults.contains(&flag.as_str()) && flag != "--extra" && flag != "-m"
        }));
        let variables =
            run.environment.keys().filter(|name| !["NAME"].contains(&name.as_str()) && !name.starts_with("CUDA_"));
        let is_unlisted = |variable: &&String| {
            let listed = rendered.variable(variable).is_some() || rendered.setting_of_variable(variable).is_some();
            !listed && !rendered.defaults.contains(&variable.as_str())
        };
        unlisted.extend(variables.filter(is_unlisted).cloned());
    }
    unlisted.into_iter().map(|what| format!("{name}: {what}")).collect()
}
