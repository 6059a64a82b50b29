//! llama.cpp's server: one for each model, with every setting that matters written out, so that nothing is guessed at start.

use super::{
    Engine, Launch, ModelFields, ModelPlace, ModelServer, Models, Parameters, Provider, PulledServer, Reading,
    Rendered, Settings, ShareOfGpu, Upstream,
};
use crate::resource::{AnswerKind, Command, HttpCheck, HttpProbe, Meaning, Mode, OfferedModels, Probe, SleepCalls};

/// llama.cpp's `llama-server`.
#[derive(Debug)]
pub struct LlamaCpp;

impl Engine for LlamaCpp {
    fn name(&self) -> &'static str {
        "llama-cpp"
    }
    fn title(&self) -> &'static str {
        "llama.cpp"
    }
    fn about(&self) -> &'static str {
        "llama.cpp's server: one for each model."
    }
    fn program(&self) -> Option<&'static str> {
        Some("llama-server")
    }
    fn names_cause(&self, line: &str) -> bool {
        super::python::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            flags: &[
                (&["--model", "-m"], "`source` of the model"),
                (&["--alias", "-a"], "the name of the model"),
                (&["--host"], "`network` of the provider, which decides the address"),
                (&["--port"], "`port` of the provider or of the model"),
                (&["--ctx-size", "-c"], "`context` of the model"),
                (&["--parallel", "-np"], "`parallel` of the model"),
                (&["--n-gpu-layers", "--gpu-layers", "-ngl"], "`gpu_layers` of the model"),
                (&["--cache-type-k", "-ctk", "--cache-type-v", "-ctv"], "`kv_cache_type` of the model"),
                (&["--flash-attn", "-fa"], "`flash_attention` of the model"),
                (&["--embedding", "--embeddings"], "`mode: embedding` of the model"),
            ],
            ..Rendered::NOTHING
        }
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Provider for LlamaCpp {
    fn models(&self) -> Models {
        Models::File
    }
    fn settings(&self) -> &'static Settings {
        &Settings { known: &[], elsewhere: &[], others: "flags of `llama-server` go under `args`" }
    }
    fn model_fields(&self) -> &'static ModelFields {
        &ModelFields {
            used: &["sha256", "context", "parallel", "gpu_layers", "kv_cache_type", "flash_attention", "port", "args"],
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
        // The socket is open before the model is there; until then every path answers 503.
        let loading = Meaning::loading(AnswerKind::Status(503), "the model is loading");
        let meanings = vec![loading.where_body_contains("Loading model")];
        let names = model.into_iter().map(str::to_owned).collect();
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: vec![HttpCheck { meanings, ..HttpCheck::of("/health") }],
            models: Some(OfferedModels { names, ..OfferedModels::default() }),
            authorization: None,
        })
    }
    fn readings(&self) -> &'static [Reading] {
        // Each slot sees its part of the context, and no more than the model was trained for.
        &[
            Reading {
                path: "/props",
                pointer: "/default_generation_settings/n_ctx",
                option: "--ctx-size",
                shared_by: Some("--parallel"),
            },
            Reading { path: "/props", pointer: "/total_slots", option: "--parallel", shared_by: None },
        ]
    }
    fn external_path(&self) -> &'static str {
        "/models"
    }
    fn model_server(&self, server: &ModelServer<'_>) -> Option<Launch> {
        let ModelPlace::Path(file) = &server.place else { return None };
        let mut arguments = Command::default();
        arguments.option("--model", file.display(), Some(server.source.clone()));
        arguments.option("--alias", server.name, server.of_name());
        arguments.option("--host", server.listen, None);
        arguments.option("--port", server.port, server.port_origin.clone());
        let numbers = [
            ("--ctx-size", "context", server.context),
            ("--parallel", "parallel", server.parallel),
            ("--n-gpu-layers", "gpu_layers", server.gpu_layers),
        ];
        for (flag, key, number) in numbers {
            if let Some(number) = number {
                arguments.option(flag, number, server.of_model(key, number));
            }
        }
        if let Some(kind) = server.kv_cache_type {
            for flag in ["--cache-type-k", "--cache-type-v"] {
                arguments.option(flag, kind, server.of_model("kv_cache_type", kind));
            }
        }
        if let Some(on) = server.flash_attention {
            let word = if on { "on" } else { "off" };
            arguments.option("--flash-attn", word, server.of_model("flash_attention", on));
        }
        if server.mode == Mode::Embedding {
            arguments.switch("--embedding", server.of_model("mode", server.mode));
        }
        Some(Launch { arguments, ..Launch::default() })
    }
    fn pulled_server(&self, _: &PulledServer<'_>) -> Option<Launch> {
        None
    }
}
