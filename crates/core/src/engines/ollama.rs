//! Ollama: one server for all its models, which it is asked to pull.

use super::settings::{Setting, Shape};
use super::{
    Engine, Launch, ModelFields, ModelServer, Models, ParameterKind, Parameters, Provider, PulledServer, Reading,
    Rendered, Settings, SettingsAs, ShareOfGpu, Upstream,
};
use crate::resource::{
    AnswerKind, Command, HttpCheck, HttpProbe, Meaning, Mode, Mount, MountSource, Origin, Origins, Probe, SleepCalls,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The folder in which the image of Ollama keeps what it has.
const INSIDE: &str = "/root/.ollama";

/// The beginning of a variable of Ollama's.
const PREFIX: &str = "OLLAMA_";

/// Each is a variable of Ollama's in lower case and without its beginning.
const SETTINGS: Settings = Settings {
    known: &[
        Setting { name: "context_length", shape: Shape::Scalar },
        Setting { name: "flash_attention", shape: Shape::Scalar },
        Setting { name: "gpu_overhead", shape: Shape::Scalar },
        Setting { name: "keep_alive", shape: Shape::Scalar },
        Setting { name: "kv_cache_type", shape: Shape::Scalar },
        Setting { name: "load_timeout", shape: Shape::Scalar },
        Setting { name: "max_loaded_models", shape: Shape::Scalar },
        Setting { name: "max_queue", shape: Shape::Scalar },
        Setting { name: "models", shape: Shape::Path },
        Setting { name: "num_parallel", shape: Shape::Scalar },
    ],
    elsewhere: &[("host", "`port` of the provider")],
    others: "other variables of Ollama go under `env`",
};

/// The options of `api.Options` and `api.Runner` in Ollama 0.24.
const PARAMETERS: Parameters = Parameters {
    known: &[
        ("frequency_penalty", ParameterKind::Number),
        ("main_gpu", ParameterKind::Whole),
        ("min_p", ParameterKind::Number),
        ("num_batch", ParameterKind::Whole),
        ("num_gpu", ParameterKind::Whole),
        ("num_keep", ParameterKind::Whole),
        ("num_predict", ParameterKind::Whole),
        ("num_thread", ParameterKind::Whole),
        ("presence_penalty", ParameterKind::Number),
        ("repeat_last_n", ParameterKind::Whole),
        ("repeat_penalty", ParameterKind::Number),
        ("seed", ParameterKind::Whole),
        ("stop", ParameterKind::Words),
        ("temperature", ParameterKind::Number),
        ("top_k", ParameterKind::Whole),
        ("top_p", ParameterKind::Number),
        ("typical_p", ParameterKind::Number),
        ("use_mmap", ParameterKind::Switch),
    ],
    elsewhere: &[("num_ctx", "`context` of the model")],
};

/// Ollama.
#[derive(Debug)]
pub struct Ollama;

impl Engine for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }
    fn title(&self) -> &'static str {
        "Ollama"
    }
    fn about(&self) -> &'static str {
        "Ollama: one server for all its models."
    }
    fn program(&self) -> Option<&'static str> {
        Some("ollama")
    }
    fn names_cause(&self, line: &str) -> bool {
        super::python::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            variables: &[("OLLAMA_HOST", "`port` of the provider"), ("OLLAMA_MODELS", "`settings: {models: PATH}`")],
            settings: SettingsAs::Variables(PREFIX),
            ..Rendered::NOTHING
        }
    }
    fn on_port_taken(&self, holder: &str, port: u16) -> Option<String> {
        // Such as that of a package.
        holder.contains("ollama").then(|| {
            format!(
                "an Ollama runs already: route to it with `runtime: external, endpoint: http://127.0.0.1:{port}, \
                 manage: models`, or stop it (`sudo systemctl disable --now ollama` if a package brought it)"
            )
        })
    }
}

impl Provider for Ollama {
    fn models(&self) -> Models {
        Models::Pulled
    }
    fn settings(&self) -> &'static Settings {
        &SETTINGS
    }
    fn model_fields(&self) -> &'static ModelFields {
        &ModelFields {
            used: &["sha256", "context", "load", "insecure", "parameters", "template", "system"],
            instead: &[
                ("flash_attention", "`flash_attention` under the provider's `settings`"),
                ("gpu_layers", "`parameters: {num_gpu: …}`"),
                ("kv_cache_type", "`kv_cache_type` under the provider's `settings`"),
                ("parallel", "`num_parallel` under the provider's `settings`"),
                ("port", "`port` of the provider"),
            ],
            parameters: PARAMETERS,
        }
    }
    fn upstream(&self, mode: Mode) -> Upstream {
        let prefix = match mode {
            Mode::Chat => "ollama_chat",
            Mode::Completion | Mode::Embedding => "ollama",
        };
        Upstream { prefix, versioned: false }
    }
    fn share_of_gpu(&self) -> Option<&'static ShareOfGpu> {
        None
    }
    fn sleep(&self, _: &str) -> Option<SleepCalls> {
        None
    }
    fn probe(&self, endpoint: &str, _: Option<&str>) -> Probe {
        // Both answer without loading a model.
        let check = |path: &str, key: &str| {
            let host = format!("{path} answers 403: it does not accept the host name of {endpoint}");
            // Its queue of requests is full: it is at work.
            let busy = Meaning::loading(AnswerKind::Status(503), "it is busy").with_message();
            let meanings = vec![Meaning::unhealthy(AnswerKind::Status(403), host), busy];
            HttpCheck { key: Some(key.to_owned()), meanings, ..HttpCheck::of(path) }
        };
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: vec![check("/api/version", "version"), check("/api/tags", "models")],
            models: None,
            authorization: None,
        })
    }
    fn readings(&self) -> &'static [Reading] {
        &[]
    }
    fn external_path(&self) -> &'static str {
        "/api/version"
    }
    fn model_server(&self, _: &ModelServer<'_>) -> Option<Launch> {
        None
    }
    fn pulled_server(&self, server: &PulledServer<'_>) -> Option<Launch> {
        // A container keeps its models in a volume: what it writes as root does not belong in the user's home.
        let own = server.settings.iter().find(|value| value.name == "models").map(|value| PathBuf::from(value.text()));
        let store = own.unwrap_or_else(|| {
            let folder = if server.volume.is_some() { PathBuf::from(INSIDE) } else { server.home.join(".ollama") };
            folder.join("models")
        });
        let (mut environment, mut origins) = (BTreeMap::new(), Origins::default());
        for value in &server.settings {
            let variable = format!("{PREFIX}{}", value.name.to_uppercase());
            origins.add(format!("environment {variable}"), value.origin(&server.provider_path));
            environment.insert(variable, value.text());
        }
        environment.insert("OLLAMA_HOST".to_owned(), format!("{}:{}", server.listen, server.port));
        origins.add("environment OLLAMA_HOST", [Origin::new(server.provider_path.key("port"), server.port)]);
        environment.insert("OLLAMA_MODELS".to_owned(), store.to_string_lossy().into_owned());
        let volume = |name: &String| Mount {
            source: MountSource::Volume(name.clone()),
            target: INSIDE.into(),
            read_only: false,
        };
        Some(Launch {
            arguments: Command::words((!server.own_command).then_some("serve")),
            environment,
            origins,
            mounts: server.volume.iter().map(volume).collect(),
            store: server.volume.is_none().then_some(store),
            ..Launch::default()
        })
    }
}
