//! Manifests at the edges of what may be: whatever is read without an error can be planned.

use crate::cases::shown;
use crate::given::{bare, facts, past};
use crate::golden;
use crate::since::Since;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::plan;
use llamero_core::resolve::resolve;
use llamero_core::resource::Note;
use proptest::prelude::*;

/// What parts of a manifest may be replaced with: what reads, at the edges of what may be.
const EDGES: &[(&str, &[&str])] = &[
    ("stack: home", &["stack: a", "stack: gateway", "stack: a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-"]),
    (
        "engine: llama-cpp, runtime: systemd",
        &["engine: llama-cpp, runtime: process", "engine: ollama, runtime: docker"],
    ),
    ("engine: llama-cpp, runtime: systemd", &["engine: openai, runtime: external, endpoint: 'http://[::1]:1/'"]),
    (
        "port: 8000",
        &["port: 1", "port: 65534", "port: 3001, limits: {memory: 16777215TiB}", "port: 4001, adopt: true, unit: x"],
    ),
    ("port: 8000", &["port: 8000, install: {python: ['a b', ' ', '==1']}", "port: 8000, command: ['~/x', './y', '']"]),
    ("  qwen3:", &["  '{\"}:':", "  'ollama/🦙':", "  '..':", "  '-':", "  '/':"]),
    ("context: 8192", &["context: 1", "context: 18446744073709551615", "parallel: 4294967296", "mode: embedding"]),
    ("source: hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf", &["source: hf:a/b/c d@e/f", "source: hf:🦙/%/..c"]),
    (
        "source: hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf",
        &["source: {command: ['{path}']}", "source: 'https://a/b?c#d'"],
    ),
    ("file:~/models/small.gguf", &["'file:///'", "file:../../x", "'file://~'", "file:🦙"]),
    ("memory: 512MiB", &["memory: 1MiB", "memory: 16777215TiB", "ttl: 0s", "ttl: 1ms", "port: 1"]),
    (
        "{file: ~/key, generate: true}",
        &["{env: A}", "{file: /}", "{file: '', generate: true}", "{file: '..', generate: true}"],
    ),
    ("command: [page,", &["command: ['/',", "command: ['a b',", "command: [./page, ~/x, ../y,"]),
    ("ports: [3000]", &["ports: ['3000:8080']", "ports: ['127.0.0.1:1:2']", "ports: []"]),
    ("after: [gateway]", &["after: [cache, llama-cpp, gateway]", "env: {A: '%$\"'}", "working_directory: ''"]),
    ("health: {path: /healthz}", &["health: {path: '/%'}", "health: {timeout: 0s, stable_for: 1000000d}"]),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Whatever is read without an error can be desired and planned, and the plan be printed.
    #[test]
    fn every_valid_manifest_can_be_planned(
        chosen in prop::collection::vec((prop::sample::select(EDGES), any::<prop::sample::Index>()), 1..5),
    ) {
        let good = golden::repository("crates/core/tests/suite/cases/service-after-the-gateway/manifest.yaml");
        let mut text = golden::read(&good);
        for ((part, edges), index) in &chosen {
            let edge: &&str = index.get(edges);
            text = text.replacen(part, edge, 1);
        }
        let (manifest, notes) = manifest::read(&text);
        prop_assert!(manifest.is_some() || !notes.is_empty());
        if let Some(manifest) = manifest {
            let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::default()));
            let notes: Vec<Note> = notes.into_iter().map(|(note, _, _)| note).collect();
            let planned = plan(&desired, &bare(desired.resources.values()), &past(&desired));
            shown(&notes, &planned);
        }
    }
}

#[test]
fn the_edge_cases_are_parts_of_the_valid_manifest() {
    let good =
        golden::read(&golden::repository("crates/core/tests/suite/cases/service-after-the-gateway/manifest.yaml"));
    for (part, edges) in EDGES {
        assert!(good.contains(part), "`{part}` is not in the manifest");
        let reads = |edge: &&str| manifest::read(&good.replacen(part, edge, 1)).0.is_some();
        assert!(edges.iter().any(reads), "nothing that `{part}` is replaced with reads");
    }
}
