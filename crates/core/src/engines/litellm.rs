//! The `LiteLLM` proxy: the questions that it is asked.

use super::{Engine, Gateway, Rendered, SettingsAs};
use crate::resource::{AnswerKind, Authorization, GatewayApi, HttpCheck, HttpProbe, Meaning, OfferedModels, Probe};
use serde_json::{Map, json};

/// The `LiteLLM` proxy.
#[derive(Debug)]
pub struct Litellm;

impl Engine for Litellm {
    fn name(&self) -> &'static str {
        "litellm"
    }
    fn title(&self) -> &'static str {
        "LiteLLM"
    }
    fn about(&self) -> &'static str {
        "The `LiteLLM` proxy."
    }
    fn program(&self) -> Option<&'static str> {
        Some("litellm")
    }
    fn names_cause(&self, line: &str) -> bool {
        super::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            flags: &[
                (&["--config", "-c"], "`config`"),
                (&["--host"], "`network`, which decides the address"),
                (&["--port"], "`port`"),
            ],
            variables: &[("CONFIG_FILE_PATH", "`config`"), ("LITELLM_MASTER_KEY", "`master_key`")],
            defaults: &["LITELLM_MODE", "LITELLM_LOCAL_MODEL_COST_MAP", "PYTHONUNBUFFERED"],
            settings: SettingsAs::None,
        }
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Gateway for Litellm {
    fn port(&self) -> u16 {
        4000
    }
    fn probe(&self, endpoint: &str, models: Vec<String>, authorization: Authorization) -> Probe {
        // A deployment that it could not make is missing from its list and from nothing else, so the list is the proof.
        // `/health` is never asked: it runs a completion on every deployment, and so loads every model. Without a
        // database it answers a key that it does not know with 400.
        let refused = Meaning::unhealthy(AnswerKind::Status(400), "the key is not accepted (400 from /v1/models)");
        let meanings = vec![refused.where_body_contains("No connected db")];
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: vec![HttpCheck::of("/health/readiness")],
            models: Some(OfferedModels { names: models, exactly: true, meanings }),
            authorization: Some(authorization),
        })
    }
    fn api(&self) -> GatewayApi {
        // Neither its cache nor a fallback may answer, and the model group that won must be the one asked for.
        let mut fields = Map::new();
        fields.insert("cache".to_owned(), json!({ "no-cache": true, "no-store": true }));
        fields.insert("disable_fallbacks".to_owned(), true.into());
        GatewayApi { fields, answered_by: "x-litellm-model-group".to_owned() }
    }
}
