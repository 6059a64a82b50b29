//! llama-cpp-python's own server of `OpenAI`'s protocol: one for each model.
//!
//! Facts of `llama-cpp-python[server]` 0.3.36: it listens only once its model is loaded; it has no path for health, and
//! `/v1/models` offers the alias; every flag takes a value, switches too; types of the key-value cache are numbers;
//! without a number of layers nothing goes to the GPU; one request is served at a time; and the variables `HOST`,
//! `PORT` and `CONFIG_FILE` outweigh its flags.

use super::settings::{Setting, Shape};
use super::{
    Engine, Launch, ModelFields, ModelPlace, ModelServer, Models, Parameters, Provider, PulledServer, Reading,
    Rendered, Settings, SettingsAs, ShareOfGpu, Upstream,
};
use crate::resource::{AnswerKind, Command, HttpProbe, Meaning, Mode, OfferedModels, Origins, Probe, SleepCalls};

/// Each is a flag of the server.
const SETTINGS: Settings = Settings {
    known: &[
        Setting { name: "cache", shape: Shape::Switch },
        Setting { name: "cache_size", shape: Shape::Size },
        Setting { name: "cache_type", shape: Shape::Text },
        Setting { name: "chat_format", shape: Shape::Text },
        Setting { name: "draft_model", shape: Shape::Text },
        Setting { name: "draft_model_num_pred_tokens", shape: Shape::Count },
        Setting { name: "hf_pretrained_model_name_or_path", shape: Shape::Text },
        Setting { name: "hf_tokenizer_config_path", shape: Shape::Text },
        Setting { name: "interrupt_requests", shape: Shape::Switch },
        Setting { name: "logits_all", shape: Shape::Switch },
        Setting { name: "main_gpu", shape: Shape::Count },
        Setting { name: "n_batch", shape: Shape::Count },
        Setting { name: "n_threads", shape: Shape::Count },
        Setting { name: "n_threads_batch", shape: Shape::Count },
        Setting { name: "n_ubatch", shape: Shape::Count },
        Setting { name: "offload_kqv", shape: Shape::Switch },
        Setting { name: "seed", shape: Shape::Count },
        Setting { name: "use_mlock", shape: Shape::Switch },
        Setting { name: "use_mmap", shape: Shape::Switch },
        Setting { name: "verbose", shape: Shape::Switch },
    ],
    elsewhere: &[
        ("flash_attn", "`flash_attention` of a model"),
        ("model_alias", "the model's name"),
        ("n_ctx", "`context` of a model"),
        ("n_gpu_layers", "`gpu_layers` of a model"),
        ("port", "`port` of the provider or of a model"),
        ("type_k", "`kv_cache_type` of a model"),
        ("type_v", "`kv_cache_type` of a model"),
    ],
    others: "other flags of `python -m llama_cpp.server` go under `args`",
};

/// The numbers of the types that a key-value cache can have (`GGML_TYPE_*`).
const CACHE_TYPES: [(&str, u8); 8] =
    [("f32", 0), ("f16", 1), ("q4_0", 2), ("q4_1", 3), ("q5_0", 6), ("q5_1", 7), ("q8_0", 8), ("iq4_nl", 20)];

/// llama-cpp-python's server.
#[derive(Debug)]
pub struct LlamaCppPython;

impl Engine for LlamaCppPython {
    fn name(&self) -> &'static str {
        "llama-cpp-python"
    }
    fn title(&self) -> &'static str {
        "llama-cpp-python"
    }
    fn about(&self) -> &'static str {
        "llama-cpp-python's own server: one for each model."
    }
    fn program(&self) -> Option<&'static str> {
        Some("python3")
    }
    fn names_cause(&self, line: &str) -> bool {
        super::python::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            flags: &[
                (&["--model"], "`source` of the model"),
                (&["--model-alias"], "the name of the model"),
                (&["--host"], "`network` of the provider, which decides the address"),
                (&["--port"], "`port` of the provider or of the model"),
                (&["--n-ctx"], "`context` of the model"),
                (&["--n-gpu-layers"], "`gpu_layers` of the model"),
                (&["--type-k", "--type-v"], "`kv_cache_type` of the model"),
                (&["--flash-attn"], "`flash_attention` of the model"),
                (&["--embedding"], "`mode: embedding` of the model"),
            ],
            variables: &[
                ("CONFIG_FILE", "flags of the server under `args`"),
                ("HOST", "`network` of the provider, which decides the address"),
                ("PORT", "`port` of the provider or of the model"),
            ],
            defaults: &["PYTHONUNBUFFERED"],
            settings: SettingsAs::Flags,
        }
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Provider for LlamaCppPython {
    fn models(&self) -> Models {
        Models::File
    }
    fn settings(&self) -> &'static Settings {
        &SETTINGS
    }
    fn model_fields(&self) -> &'static ModelFields {
        &ModelFields {
            used: &["sha256", "context", "gpu_layers", "kv_cache_type", "flash_attention", "port", "args"],
            instead: &[],
            parameters: Parameters::NONE,
        }
    }
    fn upstream(&self, mode: Mode) -> Upstream {
        Upstream { prefix: super::openai::prefix(mode), versioned: true }
    }
    fn share_of_gpu(&self) -> Option<&'static ShareOfGpu> {
        None
    }
    fn sleep(&self, _: &str) -> Option<SleepCalls> {
        None
    }
    fn probe(&self, endpoint: &str, model: Option<&str>) -> Probe {
        // Whether it loads or is dead, its process shows.
        let meanings = vec![Meaning::loading(AnswerKind::Refused, "it does not listen before the model is there")];
        let names = model.into_iter().map(str::to_owned).collect();
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: Vec::new(),
            models: Some(OfferedModels { names, exactly: false, meanings }),
            authorization: None,
        })
    }
    fn readings(&self) -> &'static [Reading] {
        // It reports no more than its name.
        &[]
    }
    fn external_path(&self) -> &'static str {
        "/models"
    }
    fn model_server(&self, server: &ModelServer<'_>) -> Option<Launch> {
        let ModelPlace::Path(file) = &server.place else { return None };
        let mut arguments = Command::default();
        // An image has no program of its own: its command is replaced.
        if server.in_container {
            arguments.word("python3", None);
        }
        if !server.own_command {
            arguments.word("-m", None);
            arguments.word("llama_cpp.server", None);
        }
        arguments.option("--model", file.display(), Some(server.source.clone()));
        arguments.option("--model_alias", server.name, server.of_name());
        arguments.option("--host", server.listen, None);
        arguments.option("--port", server.port, server.port_origin.clone());
        if let Some(context) = server.context {
            arguments.option("--n_ctx", context, server.of_model("context", context));
        }
        // As many as fit, where the manifest says nothing: -1 is all of them.
        match server.gpu_layers {
            Some(layers) => arguments.option("--n_gpu_layers", layers, server.of_model("gpu_layers", layers)),
            None => arguments.option("--n_gpu_layers", "-1", None),
        }
        if let Some(kind) = server.kv_cache_type {
            let number = CACHE_TYPES.iter().find(|(name, _)| *name == kind).map(|(_, number)| number.to_string());
            for flag in ["--type_k", "--type_v"] {
                // An unknown type is passed on unchanged: the server refuses it at once.
                let value = number.clone().unwrap_or_else(|| kind.to_owned());
                arguments.option(flag, value, server.of_model("kv_cache_type", kind));
            }
        }
        if let Some(on) = server.flash_attention {
            arguments.option("--flash_attn", on, server.of_model("flash_attention", on));
        }
        if server.mode == Mode::Embedding {
            arguments.option("--embedding", true, server.of_model("mode", server.mode));
        }
        for value in &server.settings {
            arguments.option(&format!("--{}", value.name), value.text(), value.origin(&server.provider_path));
        }
        // What the machine's environment says must not outweigh the flags; and a log is written as it happens.
        let port = server.port.to_string();
        let fixed = [("CONFIG_FILE", ""), ("HOST", server.listen), ("PORT", &port), ("PYTHONUNBUFFERED", "1")];
        let environment = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let origins = Origins::of("environment PORT", server.port_origin.clone());
        Some(Launch { arguments, environment, origins, ..Launch::default() })
    }
    fn pulled_server(&self, _: &PulledServer<'_>) -> Option<Launch> {
        None
    }
}
