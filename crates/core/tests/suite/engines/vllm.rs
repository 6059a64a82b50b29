//! vLLM: what the manifest means on its command line.

use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::{Desired, Directories, Facts, questions, resolve};
use llamero_core::resource::{GpuClaim, Restart, Run, Seconds};

fn desired_of(text: &str) -> Desired {
    let (manifest, notes) = manifest::read(text);
    let manifest = manifest.unwrap_or_else(|| panic!("{notes:?}"));
    let [home, config, state, data] = ["/home/ai", "/c", "/s", "/d"].map(std::path::PathBuf::from);
    let directories = Directories { manifest: home.join("stack"), home, config, state, data };
    let programs = questions(&manifest, &directories).programs;
    let facts = Facts {
        secrets: [].into(),
        programs: programs.into_iter().map(|name| (name.clone(), format!("/usr/bin/{name}").into())).collect(),
        python: None,
        hub: "https://hub.example".to_owned(),
        hub_token: false,
        memory: None,
        pythons: [].into(),
        gpus: None,
        fetched: [].into(),
        directories,
    };
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts);
    assert!(notes.is_empty(), "{notes:?}");
    desired
}

fn run(provider: &str, model: &str) -> Run {
    let text = format!(
        "version: 1\nstack: home\nproviders:\n  vllm: {{engine: vllm, runtime: systemd, port: 8100{provider}}}\n\
         models:\n  qwen3: {{provider: vllm, {model}}}\n"
    );
    let desired = desired_of(&text);
    let (_, run) = desired.runs().next().expect("a server");
    run.clone()
}

#[test]
fn everything_that_is_said_is_in_the_command() {
    let settings = ", settings: {dtype: half, kv_cache_memory_bytes: 1GiB}, args: [--a]";
    let model = "source: \"hf:Qwen/Qwen3-8B@9c925d6\", context: 8192, parallel: 16, kv_cache_type: fp8, args: [--b]";
    let run = run(settings, model);
    let expected = "/usr/bin/vllm serve Qwen/Qwen3-8B --served-model-name qwen3 --host 127.0.0.1 --port 8100 \
                    --revision 9c925d6 --max-model-len 8192 --max-num-seqs 16 --kv-cache-dtype fp8 --dtype half \
                    --kv-cache-memory-bytes 1073741824 --a --b";
    assert_eq!(run.command.argv().join(" "), expected);
    assert_eq!(run.environment["HF_ENDPOINT"], "https://hub.example");
    assert_eq!(run.restart, Restart::Always);
}

#[test]
fn a_server_claims_the_share_that_its_command_says_last() {
    let claim = |provider: &str, args: &str| {
        run(provider, &format!("source: ~/a, args: [{args}]")).gpu_claim.expect("vLLM claims a share")
    };
    assert_eq!(claim("", ""), GpuClaim::Default);
    let settings = ", settings: {gpu_memory_utilization: 0.5}";
    assert_eq!(claim(settings, ""), GpuClaim::Share(500_000));
    assert_eq!(claim("", "--gpu_memory_utilization=0.25"), GpuClaim::Share(250_000));
    let twice = "--gpu-memory-utilization, \"0.9\", --gpu-memory-utilization, \"0.4267\"";
    assert_eq!(claim("", twice), GpuClaim::Share(426_700));
}

#[test]
fn a_folder_is_where_the_manifest_says() {
    for (source, place) in [
        ("file:models/a", "/home/ai/stack/models/a"),
        ("file:///models/a", "/models/a"),
        ("./a", "/home/ai/stack/a"),
        ("~/a", "/home/ai/a"),
    ] {
        let run = run(", command: [vllm, serve]", &format!("source: \"{source}\", mode: embedding"));
        let expected = format!(
            "/usr/bin/vllm serve {place} --served-model-name qwen3 --host 127.0.0.1 --port 8100 --runner pooling"
        );
        assert_eq!(run.command.argv().join(" "), expected);
        assert!(!run.environment.contains_key("HF_ENDPOINT"));
    }
}

#[test]
fn it_has_long_to_load_unless_the_manifest_says_how_long() {
    assert_eq!(run("", "source: ~/a").timeout, Seconds::new(600));
    assert_eq!(run(", health: {timeout: 90s}", "source: ~/a").timeout, Seconds::new(90));
}

#[test]
fn settings_become_flags() {
    let settings = ", settings: {dtype: bfloat16, enable_prefix_caching: false, enforce_eager: true, \
                    gpu_memory_utilization: 0.5, kv_cache_memory_bytes: 1GiB, tensor_parallel_size: 2}";
    let argv = run(settings, "source: ~/a").command.argv().join(" ");
    let expected = "--dtype bfloat16 --no-enable-prefix-caching --enforce-eager --gpu-memory-utilization 0.5 \
                    --kv-cache-memory-bytes 1073741824 --tensor-parallel-size 2";
    assert!(argv.ends_with(expected), "{argv}");
}
