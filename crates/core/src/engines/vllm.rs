//! vLLM: one server for each model, which brings the model itself when it is one of the hub.
//!
//! Without a setting it takes its own share of the GPU; a budget becomes that share.

use super::settings::{Given, Setting, Shape};
use super::{
    Engine, Launch, ModelFields, ModelPlace, ModelServer, Models, Parameters, Provider, PulledServer, Reading,
    Rendered, Settings, SettingsAs, ShareOfGpu, Upstream,
};
use crate::resource::{
    AnswerKind, Command, HttpCheck, HttpProbe, Meaning, Mode, Mount, MountSource, OfferedModels, Origin, Origins,
    Probe, Restart, Seconds, SleepCalls,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The time that it may load and compile without progress; vLLM's own patience with its engine
/// (`VLLM_ENGINE_READY_TIMEOUT_S`).
const TIMEOUT: Seconds = Seconds::new(600);

const SHARE: ShareOfGpu = ShareOfGpu { flag: "--gpu-memory-utilization", setting: "gpu_memory_utilization" };

/// Each is a flag of `vllm serve` in snake case.
const SETTINGS: Settings = Settings {
    known: &[
        Setting { name: "cpu_offload_gb", shape: Shape::Count },
        Setting { name: "dtype", shape: Shape::Text },
        Setting { name: "enable_auto_tool_choice", shape: Shape::Switch },
        Setting { name: "enable_chunked_prefill", shape: Shape::Switch },
        Setting { name: "enable_prefix_caching", shape: Shape::Switch },
        Setting { name: "enforce_eager", shape: Shape::Switch },
        Setting { name: "gpu_memory_utilization", shape: Shape::Share },
        Setting { name: "kv_cache_memory_bytes", shape: Shape::Size },
        Setting { name: "load_format", shape: Shape::Text },
        Setting { name: "max_num_batched_tokens", shape: Shape::Count },
        Setting { name: "pipeline_parallel_size", shape: Shape::Count },
        Setting { name: "quantization", shape: Shape::Text },
        Setting { name: "reasoning_parser", shape: Shape::Text },
        Setting { name: "seed", shape: Shape::Count },
        Setting { name: "tensor_parallel_size", shape: Shape::Count },
        Setting { name: "tool_call_parser", shape: Shape::Text },
        Setting { name: "trust_remote_code", shape: Shape::Switch },
    ],
    elsewhere: &[
        ("kv_cache_dtype", "`kv_cache_type` of a model"),
        ("max_model_len", "`context` of a model"),
        ("max_num_seqs", "`parallel` of a model"),
        ("port", "`port` of the provider or of a model"),
    ],
    others: "other flags of `vllm serve` go under `args`",
};

/// vLLM.
#[derive(Debug)]
pub struct Vllm;

impl Engine for Vllm {
    fn name(&self) -> &'static str {
        "vllm"
    }
    fn title(&self) -> &'static str {
        "vLLM"
    }
    fn about(&self) -> &'static str {
        "vLLM: one server for each model."
    }
    fn program(&self) -> Option<&'static str> {
        Some("vllm")
    }
    fn names_cause(&self, line: &str) -> bool {
        // Its own process says this of the one that runs the engine.
        !line.contains("See root cause above") && super::python::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            flags: &[
                (&["--model"], "`source` of the model"),
                (&["--served-model-name"], "the name of the model"),
                (&["--host"], "`network` of the provider, which decides the address"),
                (&["--port"], "`port` of the provider or of the model"),
                (&["--revision"], "`@revision` in the model's `source`"),
                (&["--max-model-len"], "`context` of the model"),
                (&["--max-num-seqs"], "`parallel` of the model"),
                (&["--kv-cache-dtype"], "`kv_cache_type` of the model"),
                (&["--runner"], "`mode: embedding` of the model"),
                (&["--enable-sleep-mode"], "`sleep: true`"),
            ],
            variables: &[
                ("HF_ENDPOINT", "it where llamero itself runs, so that both use the same hub"),
                ("VLLM_SERVER_DEV_MODE", "`sleep: true`"),
            ],
            defaults: &["VLLM_NO_USAGE_STATS", "PYTHONUNBUFFERED"],
            settings: SettingsAs::Flags,
        }
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Provider for Vllm {
    fn models(&self) -> Models {
        Models::Repository
    }
    fn settings(&self) -> &'static Settings {
        &SETTINGS
    }
    fn model_fields(&self) -> &'static ModelFields {
        &ModelFields {
            used: &["context", "parallel", "kv_cache_type", "port", "args"],
            instead: &[],
            parameters: Parameters::NONE,
        }
    }
    fn upstream(&self, mode: Mode) -> Upstream {
        let prefix = match mode {
            Mode::Chat | Mode::Embedding => "hosted_vllm",
            Mode::Completion => super::openai::prefix(mode),
        };
        Upstream { prefix, versioned: true }
    }
    fn share_of_gpu(&self) -> Option<&'static ShareOfGpu> {
        Some(&SHARE)
    }
    fn sleep(&self, endpoint: &str) -> Option<SleepCalls> {
        Some(SleepCalls {
            endpoint: endpoint.to_owned(),
            // The weights go to host memory.
            sleep: "/sleep?level=1".to_owned(),
            wake: "/wake_up".to_owned(),
            state: "/is_sleeping".to_owned(),
            key: "is_sleeping".to_owned(),
        })
    }
    fn probe(&self, endpoint: &str, model: Option<&str>) -> Probe {
        // It listens when the model is there and not before: whether it loads or is dead, its process shows.
        let meanings = vec![
            Meaning::loading(AnswerKind::Refused, "it does not listen before the model is there"),
            Meaning::unhealthy(AnswerKind::Status(503), "its engine is dead"),
        ];
        let names = model.into_iter().map(str::to_owned).collect();
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: vec![HttpCheck { meanings, ..HttpCheck::of("/health") }],
            models: Some(OfferedModels { names, ..OfferedModels::default() }),
            authorization: None,
        })
    }
    fn readings(&self) -> &'static [Reading] {
        &[Reading { path: "/v1/models", pointer: "/data/0/max_model_len", option: "--max-model-len", shared_by: None }]
    }
    fn external_path(&self) -> &'static str {
        "/models"
    }
    fn model_server(&self, server: &ModelServer<'_>) -> Option<Launch> {
        // Telemetry is off, and a log is written as it happens.
        let variables = ["VLLM_NO_USAGE_STATS", "PYTHONUNBUFFERED"].map(|name| (name.to_owned(), "1".to_owned()));
        let mut environment = BTreeMap::from(variables);
        let (model, revision) = match &server.place {
            ModelPlace::Path(folder) => (folder.to_string_lossy().into_owned(), None),
            ModelPlace::Repository { name, revision, hub, .. } => {
                environment.insert("HF_ENDPOINT".to_owned(), hub.clone());
                (name.clone(), revision.clone())
            }
        };
        let mounts = if server.in_container { seen_inside(&server.place, &server.caches) } else { Vec::new() };
        let mut arguments = Command::default();
        // The image's own program is `vllm serve`.
        if !server.own_command && !server.in_container {
            arguments.word("serve", None);
        }
        arguments.operand("model", model, Some(server.source.clone()));
        arguments.option("--served-model-name", server.name, server.of_name());
        arguments.option("--host", server.listen, None);
        arguments.option("--port", server.port, server.port_origin.clone());
        if let Some(revision) = revision {
            arguments.option("--revision", revision, Some(server.source.clone()));
        }
        for (flag, key, number) in
            [("--max-model-len", "context", server.context), ("--max-num-seqs", "parallel", server.parallel)]
        {
            if let Some(number) = number {
                arguments.option(flag, number, server.of_model(key, number));
            }
        }
        if let Some(kind) = server.kv_cache_type {
            arguments.option("--kv-cache-dtype", kind, server.of_model("kv_cache_type", kind));
        }
        if server.mode == Mode::Embedding {
            arguments.option("--runner", "pooling", server.of_model("mode", server.mode));
        }
        if let Some((share, origin)) = &server.share {
            arguments.option(SHARE.flag, share, Some(origin.clone()));
        }
        let mut origins = Origins::default();
        if server.sleep {
            let sleep = Origin::new(server.provider_path.key("sleep"), true);
            // Without the variable vLLM has no address to be sent to sleep by.
            environment.insert("VLLM_SERVER_DEV_MODE".to_owned(), "1".to_owned());
            origins.add("environment VLLM_SERVER_DEV_MODE", [sleep.clone()]);
            arguments.switch("--enable-sleep-mode", Some(sleep));
        }
        add_settings(server, &mut arguments);
        // It ends with success when its engine has died.
        let restart = Restart::Always;
        let timeout = Some(TIMEOUT);
        Some(Launch { arguments, environment, origins, mounts, ipc_host: true, restart, timeout, store: None })
    }
    fn pulled_server(&self, _: &PulledServer<'_>) -> Option<Launch> {
        None
    }
}

/// Adds the settings of the provider to the arguments of a server.
fn add_settings(server: &ModelServer<'_>, arguments: &mut Command) {
    for value in &server.settings {
        let (name, origin) = (value.name.replace('_', "-"), value.origin(&server.provider_path));
        match &value.given {
            Given::Switch(true) => arguments.switch(&format!("--{name}"), origin),
            Given::Switch(false) => arguments.switch(&format!("--no-{name}"), origin),
            Given::Text(text) => arguments.option(&format!("--{name}"), text, origin),
        }
    }
}

/// Returns what a container sees of the host: the folder of the model, and the caches of hub and compiler.
fn seen_inside(place: &ModelPlace, caches: &Path) -> Vec<Mount> {
    let kept = |name: &str| Mount {
        source: MountSource::Path(caches.join(name)),
        target: PathBuf::from("/root/.cache").join(name),
        read_only: false,
    };
    let mut mounts = vec![kept("huggingface"), kept("vllm")];
    if let ModelPlace::Path(folder) = place {
        mounts.push(Mount { source: MountSource::Path(folder.clone()), target: folder.clone(), read_only: true });
    }
    mounts
}
