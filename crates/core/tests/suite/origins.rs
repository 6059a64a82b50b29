//! The settings of a manifest that has everything, and the rendered fields that come from each of them.

use crate::given::{bare, facts, past};
use crate::golden;
use crate::since::Since;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::{Cause, Change, Past, foresee_all, plan};
use llamero_core::resolve::{Desired, resolve};
use std::collections::{BTreeMap, BTreeSet};

/// Returns the desired state of a manifest on a machine that has everything.
fn desired(text: &str) -> Desired {
    let (manifest, notes) = manifest::read(text);
    let manifest = manifest.unwrap_or_else(|| panic!("{}", manifest::report("manifest.yaml", text, &notes, false)));
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::with_gpus(&["80GiB"])));
    assert!(!notes.iter().any(|(note, ..)| note.is_error()), "{notes:?}");
    desired
}

/// A field without an origin stands in the expected text as well, so that a new one is seen.
#[test]
fn every_field_has_its_origins() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    let desired = desired(&golden::read(&folder.join("manifest.yaml")));
    let mut text = String::new();
    for resource in desired.resources.values() {
        text.push_str(&format!("{}\n", resource.id));
        for (name, field) in resource.fields() {
            let origins: Vec<String> = field.origins.iter().map(|origin| origin.path.to_string()).collect();
            text.push_str(&format!(
                "  {name:<34} {}\n",
                if origins.is_empty() { "-".to_owned() } else { origins.join(", ") }
            ));
        }
    }
    let problems: Vec<String> = golden::compare(&folder.join("origins.txt"), &text).into_iter().collect();
    golden::all_well(&problems);
}

/// An origin of a field that does not exist is a misspelt one.
#[test]
fn every_origin_belongs_to_a_field() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    for resource in desired(&golden::read(&folder.join("manifest.yaml"))).resources.values() {
        let fields = resource.fields();
        let misspelt: Vec<&String> = resource.origins.0.keys().filter(|name| !fields.contains_key(*name)).collect();
        assert!(misspelt.is_empty(), "{}: {misspelt:?}", resource.id);
    }
}

#[test]
fn origins_change_no_fingerprint() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    for resource in desired(&golden::read(&folder.join("manifest.yaml"))).resources.into_values() {
        let mut fields = resource.fields();
        assert_eq!(llamero_core::resource::Fingerprint::of(&fields), resource.fingerprint());
        for field in fields.values_mut() {
            field.origins.clear();
        }
        assert_eq!(llamero_core::resource::Fingerprint::of(&fields), resource.fingerprint());
    }
}

/// Edits of the manifest: what is replaced by what, and the setting that is the cause.
const EDITS: &[(&str, &str, &str)] = &[
    ("port: 8000", "port: 8001", "providers.llama-cpp.port"),
    ("gpus: [0]\n    install", "gpus: [1]\n    install", "providers.llama-cpp.gpus"),
    ("llama-cpp-tools==1", "llama-cpp-tools==2", "providers.llama-cpp.install.python"),
    ("[llama-server, --log-file", "[llama-other, --log-file", "providers.llama-cpp.command"),
    ("--log-file, ./log", "--log-file, ./other", "providers.llama-cpp.command"),
    ("--threads, \"8\"", "--threads, \"9\"", "providers.llama-cpp.args"),
    ("LLAMA_TRACE: \"1\"", "LLAMA_TRACE: \"2\"", "providers.llama-cpp.env.LLAMA_TRACE"),
    ("{env: TOKEN}", "{env: TICKET}", "providers.llama-cpp.secrets.LLAMA_TOKEN"),
    ("memory: 8GiB", "memory: 9GiB", "providers.llama-cpp.limits.memory"),
    ("memory: 8GiB", "memory: 8193MiB", "providers.llama-cpp.limits.memory"),
    ("cpus: 4", "cpus: 5", "providers.llama-cpp.limits.cpus"),
    ("port: 11434", "port: 11444", "providers.ollama.port"),
    ("keep_alive: 5m", "keep_alive: 6m", "providers.ollama.settings.keep_alive"),
    ("flash_attention: true,", "flash_attention: false,", "providers.ollama.settings.flash_attention"),
    ("/srv/ollama", "/srv/other", "providers.ollama.settings.models"),
    ("port: 11435", "port: 11445", "providers.boxed.port"),
    ("ollama/ollama:0.9", "ollama/ollama:1.0", "providers.boxed.image"),
    ("/srv/a:/a:ro", "/srv/a:/a", "providers.boxed.volumes"),
    ("network: bridge", "network: host", "providers.boxed.network"),
    ("user: \"1000\"", "user: \"1001\"", "providers.boxed.user"),
    ("    read_only: true\n", "", "providers.boxed.read_only"),
    ("shm_size: 1GiB", "shm_size: 2GiB", "providers.boxed.shm_size"),
    ("[/bin/ollama, serve]", "[/bin/ollama, serve, --x]", "providers.boxed.command"),
    ("port: 8100", "port: 8101", "providers.vllm.port"),
    ("memory: 40GiB", "memory: 30GiB", "providers.vllm.memory"),
    ("    sleep: true\n", "", "providers.vllm.sleep"),
    ("dtype: half", "dtype: float", "providers.vllm.settings.dtype"),
    ("enforce_eager: true", "enforce_eager: false", "providers.vllm.settings.enforce_eager"),
    ("bytes: 1GiB", "bytes: 2GiB", "providers.vllm.settings.kv_cache_memory_bytes"),
    ("{env: REMOTE_KEY}", "{env: OTHER_KEY}", "providers.remote.api_key"),
    ("Qwen3-8B-Q4_K_M", "Qwen3-8B-Q8_0", "models.qwen3.source"),
    ("sha256: aaaa", "sha256: bbbb", "models.qwen3.sha256"),
    ("context: 8192", "context: 4096", "models.qwen3.context"),
    ("parallel: 2", "parallel: 3", "models.qwen3.parallel"),
    ("gpu_layers: 10", "gpu_layers: 11", "models.qwen3.gpu_layers"),
    ("kv_cache_type: q8_0", "kv_cache_type: f16", "models.qwen3.kv_cache_type"),
    ("    flash_attention: true\n", "    flash_attention: false\n", "models.qwen3.flash_attention"),
    ("    flash_attention: true\n", "", "models.qwen3.flash_attention"),
    ("args: [--mlock]", "args: [--no-mmap]", "models.qwen3.args"),
    ("mode: embedding, port: 8050", "port: 8050", "models.embed.mode"),
    ("port: 8050", "port: 8051", "models.embed.port"),
    ("Qwen3-8B@main", "Qwen3-8B@other", "models.big.source"),
    ("context: 16384", "context: 32768", "models.big.context"),
    ("parallel: 16", "parallel: 17", "models.big.parallel"),
    ("kv_cache_type: fp8", "kv_cache_type: auto", "models.big.kv_cache_type"),
    ("--max-log-len, \"10\"", "--max-log-len, \"11\"", "models.big.args"),
    ("hf:Qwen/Embed, mode: embedding", "hf:Qwen/Embed", "models.vectors.mode"),
    ("qwen3:4b", "qwen3:8b", "models.small.source"),
    ("context: 4096", "context: 2048", "models.small.context"),
    ("temperature: 0.5", "temperature: 0.6", "models.small.parameters.temperature"),
    ("{{ .Prompt }}", "<{{ .Prompt }}>", "models.small.template"),
    ("system: Be brief", "system: Be kind", "models.small.system"),
    ("fallbacks: [big]", "fallbacks: [small]", "models.qwen3.fallbacks"),
    ("    fallbacks: [big]\n", "", "models.qwen3.fallbacks"),
    ("https://api.example/v1", "https://api.example/v2", "providers.remote.endpoint"),
    ("source: gpt-5", "source: gpt-6", "models.cloud.source"),
    ("  vectors: {provider: vllm, source: hf:Qwen/Embed, mode: embedding}\n", "", "models.vectors"),
    ("ttl: 1h", "ttl: 2h", "cache.ttl"),
    ("allowed_fails: 3", "allowed_fails: 4", "gateway.allowed_fails"),
    ("cooldown: 30s", "cooldown: 40s", "gateway.cooldown"),
    ("retries: 2", "retries: 3", "gateway.retries"),
    ("drop_params: true", "drop_params: false", "gateway.settings.litellm_settings.drop_params"),
    ("port: 6380", "port: 6381", "cache.port"),
    ("memory: 512MiB", "memory: 513MiB", "cache.memory"),
    ("port: 4001", "port: 4002", "gateway.port"),
    ("config: ~/litellm.yaml", "config: ~/other.yaml", "gateway.config"),
    ("file: ~/key", "file: ~/other", "gateway.master_key"),
    ("litellm[proxy]==1.106.2", "litellm[proxy]==1.107.0", "gateway.install.python"),
    ("open-webui:v0.6", "open-webui:v0.7", "services.ui.image"),
    ("3000:8080", "3001:8080", "services.ui.ports"),
    ("${providers.remote.url}", "http://other.example", "services.ui.env.OPENAI_API_BASE_URL"),
    ("[/usr/bin/true, --forever]", "[/usr/bin/true, --once]", "services.job.command"),
    ("working_directory: ~/work", "working_directory: ~/other", "services.job.working_directory"),
];

/// Returns the settings that are causes of the changes from one manifest to another.
fn causes(before: &Desired, after: &Desired) -> Vec<(String, Cause)> {
    let observed = bare(before.resources.values().chain(after.resources.values()));
    let first = plan(before, &observed, &Past::default());
    assert!(first.refusals.is_empty(), "{:?}", first.refusals);
    let observed = foresee_all(before, &observed, &first);
    let changes = plan(after, &observed, &past(before)).changes;
    let of =
        |change: &Change| change.causes.iter().map(|cause| (change.on.to_string(), cause.clone())).collect::<Vec<_>>();
    changes.iter().flat_map(of).collect()
}

/// Each setting is the cause of what changes with it, and of nothing that changes with another.
#[test]
fn a_setting_that_differs_is_the_cause() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    let text = golden::read(&folder.join("manifest.yaml"));
    let before = desired(&text);
    let mut problems = Vec::new();
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for (part, other, path) in EDITS {
        assert!(text.contains(part), "`{part}` is not in the manifest");
        let causes = causes(&before, &desired(&text.replacen(part, other, 1)));
        let settings: BTreeSet<String> = causes
            .iter()
            .filter_map(
                |(_, cause)| if let Cause::Setting { path, .. } = cause { Some(path.to_string()) } else { None },
            )
            .collect();
        if settings != BTreeSet::from([(*path).to_owned()]) {
            problems.push(format!("{path}: the causes are {settings:?}\n{causes:#?}"));
        }
        let shown = format!("{causes:?}");
        if let Some(same) = known.insert(shown, other) {
            problems.push(format!("{path}: `{other}` has the causes of `{same}`"));
        }
    }
    golden::all_well(&problems);
}
