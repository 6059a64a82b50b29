//! Any endpoint that speaks `OpenAI`'s protocol: llamero routes to it, and runs nothing.

use super::{
    Engine, Launch, ModelFields, ModelServer, Models, Parameters, Provider, PulledServer, Reading, Rendered, Settings,
    ShareOfGpu, Upstream,
};
use crate::resource::{HttpProbe, Mode, OfferedModels, Probe, SleepCalls};

/// An endpoint of `OpenAI`'s protocol.
#[derive(Debug)]
pub struct Openai;

/// Returns the gateway's name for the protocol.
#[must_use]
pub const fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Chat | Mode::Embedding => "openai",
        Mode::Completion => "text-completion-openai",
    }
}

impl Engine for Openai {
    fn name(&self) -> &'static str {
        "openai"
    }
    fn title(&self) -> &'static str {
        "OpenAI's protocol"
    }
    fn about(&self) -> &'static str {
        "Any endpoint that speaks `OpenAI`'s protocol."
    }
    fn program(&self) -> Option<&'static str> {
        None
    }
    fn names_cause(&self, _: &str) -> bool {
        false
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered::NOTHING
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Provider for Openai {
    fn models(&self) -> Models {
        Models::Upstream
    }
    fn settings(&self) -> &'static Settings {
        &Settings { known: &[], elsewhere: &[], others: "an endpoint has none" }
    }
    fn model_fields(&self) -> &'static ModelFields {
        &ModelFields { used: &[], instead: &[], parameters: Parameters::NONE }
    }
    fn upstream(&self, mode: Mode) -> Upstream {
        // The address is taken as it is written: not all have a `/v1`.
        Upstream { prefix: prefix(mode), versioned: false }
    }
    fn share_of_gpu(&self) -> Option<&'static ShareOfGpu> {
        None
    }
    fn sleep(&self, _: &str) -> Option<SleepCalls> {
        None
    }
    fn probe(&self, endpoint: &str, model: Option<&str>) -> Probe {
        let names = model.into_iter().map(str::to_owned).collect();
        let models = OfferedModels { names, ..OfferedModels::default() };
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: Vec::new(),
            models: Some(models),
            authorization: None,
        })
    }
    fn readings(&self) -> &'static [Reading] {
        &[]
    }
    fn external_path(&self) -> &'static str {
        "/models"
    }
    fn model_server(&self, _: &ModelServer<'_>) -> Option<Launch> {
        None
    }
    fn pulled_server(&self, _: &PulledServer<'_>) -> Option<Launch> {
        None
    }
}
