//! What llamero writes for each engine on each runtime, over a manifest that gives all that the engine knows.
//!
//! The tables are walked, so that a new engine without its files fails.

use crate::given::facts;
use crate::golden;
use crate::since::Since;
use llamero_core::engines::{CACHES, GATEWAYS, Models, PROVIDERS, Provider, Shape};
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::resolve;
use llamero_core::resource::{Kind, Piece, Resource, Spec};
use llamero_core::targets::docker::lower::{Engine, ImageCommand, NewContainer};
use llamero_core::targets::{docker, process, systemd};

const RUNTIMES: [&str; 3] = ["systemd", "process", "docker"];

/// Returns the settings that an engine knows, each with a value.
fn settings(engine: &dyn Provider) -> String {
    let share = engine.share_of_gpu().map(|share| share.setting);
    // The budget of memory says it instead.
    let settings = engine.settings().known.iter().filter(|setting| Some(setting.name) != share);
    let given = settings.map(|setting| {
        let value = match setting.shape {
            Shape::Switch => "true",
            Shape::Count | Shape::Scalar => "3",
            Shape::Share => "0.5",
            Shape::Size => "1GiB",
            Shape::Text => "word",
            Shape::Path => "/a/path",
        };
        format!("{}: {value}", setting.name)
    });
    given.collect::<Vec<_>>().join(", ")
}

/// Returns a manifest with a provider of an engine, and a model for each purpose.
pub(crate) fn provider(engine: &dyn Provider, runtime: &str) -> String {
    let (sleep, memory) = (engine.sleep("").is_some(), engine.share_of_gpu().is_some());
    let source = match engine.models() {
        Models::File => "\"file:/models/m.gguf\"",
        Models::Repository => "\"hf:org/model@main\"",
        Models::Pulled | Models::Upstream => "model",
    };
    let fields = [
        ("context", "context: 4096"),
        ("parallel", "parallel: 2"),
        ("gpu_layers", "gpu_layers: 10"),
        ("kv_cache_type", "kv_cache_type: q8_0"),
        ("flash_attention", "flash_attention: true"),
    ];
    let fields: Vec<&str> =
        fields.iter().filter(|(name, _)| engine.model_fields().used.contains(name)).map(|(_, text)| *text).collect();
    let runs = match engine.models() {
        Models::Upstream => "endpoint: \"https://api.example/v1\", api_key: {env: KEY}".to_owned(),
        _ => format!(
            "runtime: {runtime}, port: 8000, gpus: [0], args: [--extra, word], env: {{NAME: value}}, \
             secrets: {{TOKEN: {{env: KEY}}}}, settings: {{{}}}{}{}{}",
            settings(engine),
            if sleep { ", sleep: true" } else { "" },
            if memory { ", memory: 30GiB" } else { "" },
            if runtime == "docker" { ", image: \"example/image:1\"" } else { "" },
        ),
    };
    let modes = ["chat", "completion", "embedding"]
        .map(|mode| format!("  {mode}: {{provider: it, source: {source}, mode: {mode}, {}}}\n", fields.join(", ")));
    format!("providers:\n  it: {{engine: {}, {runs}}}\nmodels:\n{}", engine.name(), modes.concat())
}

/// Returns what the target of a server makes of it: a unit file, a launch record, or the request that creates a
/// container.
fn lowered(stack: &str, resource: &Resource) -> String {
    let run = resource.run().expect("a server");
    let value = match resource.id.kind {
        Kind::Unit => return systemd::lower::unit(stack, resource).expect("it can be rendered"),
        Kind::Process => serde_json::to_value(process::lower::launch(stack, resource)),
        _ => {
            let labels = docker::lower::labels(resource);
            let container = run.container.as_ref().expect("a container");
            let new = NewContainer { name: &resource.id.name, run, container, labels: &labels };
            Ok(docker::lower::request(Engine::Docker, stack, &new, &ImageCommand::default()))
        }
    };
    let text = serde_json::to_string_pretty(&value.expect("it can be written")).expect("it can be written");
    text.replace(&resource.fingerprint().to_string(), "FINGERPRINT") + "\n"
}

/// Returns all that is written for a manifest: files, and servers with their units.
fn written(text: &str) -> String {
    let (manifest, notes) = manifest::read(text);
    let manifest = manifest.unwrap_or_else(|| panic!("{}", manifest::report("manifest.yaml", text, &notes, false)));
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::with_gpus(&["80GiB"])));
    assert!(!notes.iter().any(|(note, ..)| note.is_error()), "{text}{notes:?}");
    let mut shown = text.to_owned();
    for resource in desired.resources.values() {
        match &resource.spec {
            Spec::Run(run) => {
                shown.push_str(&format!("\n# {}\n", resource.id));
                shown.push_str(&lowered(&desired.stack, resource));
                for (name, value) in [
                    ("probe", serde_json::to_string(&run.probe)),
                    ("sleep", serde_json::to_string(&run.sleep)),
                    ("claim", serde_json::to_string(&run.gpu_claim)),
                    ("gateway", serde_json::to_string(&run.gateway)),
                    ("kept", serde_json::to_string(&(run.restart, run.timeout, run.socket_handoff))),
                ] {
                    shown.push_str(&format!("{name} {}\n", value.expect("it can be written")));
                }
            }
            Spec::File(file) if file.path.extension().is_some_and(|extension| extension == "yaml") => {
                let text = file.content.0.iter().map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Secret { reference, .. } => format!("{reference:?}"),
                });
                shown.push_str(&format!("\n# {}\n{}", resource.id, text.collect::<String>()));
            }
            _ => {}
        }
    }
    shown
}

#[test]
fn what_is_written_for_each_engine_is_as_it_should_be() {
    let head = "version: 1\nstack: home\n";
    let gateway = |engine: &str, runtime: &str| {
        let image = if runtime == "docker" { ", image: \"example/gateway:1\"" } else { "" };
        format!("gateway: {{engine: {engine}, runtime: {runtime}{image}, port: 4000, master_key: {{env: KEY}}}}\n")
    };
    let first = GATEWAYS.first().expect("a gateway").name();
    let mut problems = Vec::new();
    let mut compare = |engine: &str, runtime: &str, text: &str| {
        let folder = golden::repository("crates/core/tests/suite/written");
        problems.extend(golden::compare(&folder.join(format!("{engine}-{runtime}.txt")), &written(text)));
    };
    for runtime in RUNTIMES {
        for engine in PROVIDERS {
            let text = format!("{head}{}{}", provider(*engine, runtime), gateway(first, "process"));
            compare(engine.name(), runtime, &text);
        }
        for engine in CACHES {
            let image = if runtime == "docker" { ", image: \"example/cache:1\"" } else { "" };
            let server = format!(", runtime: {runtime}{image}, port: 6400, memory: 64MiB");
            let server = if engine.port().is_some() { server } else { String::new() };
            let cache = format!("cache: {{engine: {}{server}, ttl: 1h}}\n", engine.name());
            compare(engine.name(), runtime, &format!("{head}{cache}{}", gateway(first, "process")));
        }
        for engine in GATEWAYS {
            compare(engine.name(), runtime, &format!("{head}{}", gateway(engine.name(), runtime)));
        }
    }
    golden::all_well(&problems);
}
