//! llama-cpp-python: what the manifest means on its command line.

use crate::given::facts;
use crate::since::Since;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::resolve;
use llamero_core::resource::Run;

fn run(provider: &str, model: &str) -> Run {
    let text = format!(
        "version: 1\nstack: home\nproviders:\n  py: {{engine: llama-cpp-python, port: 8000{provider}}}\n\
         models:\n  chat: {{provider: py, source: \"file:/m.gguf\"{model}}}\n"
    );
    let (manifest, notes) = manifest::read(&text);
    let manifest = manifest.unwrap_or_else(|| panic!("{notes:?}"));
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::default()));
    assert!(notes.is_empty(), "{notes:?}");
    let (_, run) = desired.runs().next().expect("a server");
    run.clone()
}

#[test]
fn the_module_is_run_by_the_python_that_is_there() {
    let arguments = |run: &Run| run.command.argv()[1..].join(" ");
    let flags = "--model /m.gguf --model_alias chat --host 127.0.0.1 --port 8000";
    let own = run(", runtime: systemd", "");
    assert_eq!(arguments(&own), format!("-m llama_cpp.server {flags} --n_gpu_layers -1"));
    assert!(own.command.program().is_some_and(|program| program.ends_with("/python3")), "{:?}", own.command);
    let named = run(", runtime: process, command: [/opt/serve]", ", context: 4096, gpu_layers: 0");
    assert_eq!(arguments(&named), format!("{flags} --n_ctx 4096 --n_gpu_layers 0"));
    let image = run(", runtime: docker, image: \"ghcr.io/abetlen/llama-cpp-python:v0.3.16\"", ", mode: embedding");
    assert!(image.command.argv().starts_with(&["python3", "-m", "llama_cpp.server"].map(str::to_owned)));
    assert!(arguments(&image).ends_with("--embedding true"));
}

#[test]
fn types_of_the_cache_are_numbers_and_switches_take_a_value() {
    let run = run(
        ", runtime: systemd, settings: {chat_format: chatml, verbose: false, cache_size: 1GiB}",
        ", kv_cache_type: q8_0, flash_attention: true",
    );
    let argv = run.command.argv().join(" ");
    assert!(argv.contains("--type_k 8 --type_v 8 --flash_attn true"), "{argv}");
    assert!(argv.ends_with("--chat_format chatml --verbose false --cache_size 1073741824"), "{argv}");
}

#[test]
fn the_environment_does_not_outweigh_the_flags() {
    let environment = run(", runtime: systemd", "").environment;
    let shown: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["CONFIG_FILE=", "HOST=127.0.0.1", "PORT=8000", "PYTHONUNBUFFERED=1"]);
}
