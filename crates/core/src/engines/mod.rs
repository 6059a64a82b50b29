//! The engine axis: all that is particular to an engine is in its own file here, and has one line in the tables below.
//!
//! What an engine must answer has no default, so that the compiler names what a new one lacks. Nothing here knows the
//! manifest, a machine or a runtime: an engine is asked with plain values, and answers with plain values.

mod gateway;
pub mod litellm;
pub mod llama_cpp;
pub mod llama_cpp_python;
pub mod memory;
pub mod ollama;
pub mod openai;
pub mod redis;
mod rendered;
mod routing;
mod server;
pub mod settings;
pub mod vllm;

pub use gateway::{GatewayCache, GatewayServer, GatewaySettings, Handoff};
pub use rendered::{ModelFields, Rendered, SettingsAs};
pub use routing::{Relations, Route, Routing};
pub use server::{CacheServer, Launch, ModelPlace, ModelServer, PulledServer, Reading, ShareOfGpu, Upstream};
pub use settings::{Problem, Setting, Settings, Shape, Value};

use crate::resource::{Authorization, GatewayApi, Mode, Probe, SleepCalls};

/// The engines that offer models.
pub static PROVIDERS: &[&dyn Provider] =
    &[&ollama::Ollama, &llama_cpp::LlamaCpp, &llama_cpp_python::LlamaCppPython, &vllm::Vllm, &openai::Openai];

/// The engines that keep answers.
pub static CACHES: &[&dyn Cache] = &[&redis::Redis, &memory::Memory];

/// The engines that clients talk to.
pub static GATEWAYS: &[&dyn Gateway] = &[&litellm::Litellm];

/// What every engine answers.
pub trait Engine: Sync {
    /// The name in the manifest.
    fn name(&self) -> &'static str;
    /// The name that people call it by, for messages.
    fn title(&self) -> &'static str;
    /// One sentence for the schema of the manifest.
    fn about(&self) -> &'static str;
    /// The program that it is, where the manifest gives no command; `None` of what llamero does not run.
    fn program(&self) -> Option<&'static str>;
    /// Whether a line of its log names the cause of a failure, and does not merely report one.
    fn names_cause(&self, line: &str) -> bool;
    /// The flags and variables that llamero renders for its server.
    fn renders(&self) -> &'static Rendered;
    /// Advice for a port that another program holds.
    fn on_port_taken(&self, holder: &str, port: u16) -> Option<String>;
}

/// The models that an engine serves, and so how its servers are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Models {
    /// One server for each model, which is a file that llamero fetches.
    File,
    /// One server for each model, which is a folder or a repository of the hub that the server brings itself.
    Repository,
    /// One server for all models, which it is asked to pull.
    Pulled,
    /// Whatever the endpoint offers: llamero runs no server.
    Upstream,
}

/// An engine that offers models.
pub trait Provider: Engine {
    /// The models that it serves.
    fn models(&self) -> Models;
    /// The settings that the manifest may give it.
    fn settings(&self) -> &'static Settings;
    /// The fields of a model that have an effect on it.
    fn model_fields(&self) -> &'static ModelFields;
    /// The way that a gateway reaches a model for a purpose.
    fn upstream(&self, mode: Mode) -> Upstream;
    /// The share of a GPU that its servers claim when they start; `None` where they take what they need.
    fn share_of_gpu(&self) -> Option<&'static ShareOfGpu>;
    /// The calls by which a server sleeps, where it can.
    fn sleep(&self, endpoint: &str) -> Option<SleepCalls>;
    /// The question by which a server shows that it is healthy, and offers a model if it is the server of one.
    fn probe(&self, endpoint: &str, model: Option<&str>) -> Probe;
    /// The values that a server reports of itself.
    fn readings(&self) -> &'static [Reading];
    /// The path below the address that a gateway is given which shows whether a server of others answers. It costs
    /// nothing.
    fn external_path(&self) -> &'static str;
    /// The server of one model; `None` of an engine that has none.
    fn model_server(&self, server: &ModelServer<'_>) -> Option<Launch>;
    /// The server of all models; `None` of an engine that has none.
    fn pulled_server(&self, server: &PulledServer<'_>) -> Option<Launch>;
}

/// An engine that keeps answers.
pub trait Cache: Engine {
    /// The port when the manifest gives none; `None` of what is no server.
    fn port(&self) -> Option<u16>;
    /// The gateway's name for what it is: the protocol of a server, or `local`.
    fn protocol(&self) -> &'static str;
    /// The server and the question that it must answer; `None` of what is no server.
    fn server(&self, server: &CacheServer) -> Option<(Launch, Probe)>;
}

/// An engine that clients talk to.
pub trait Gateway: Engine {
    /// The port when the manifest gives none.
    fn port(&self) -> u16;
    /// The question whether it is ready and offers exactly these models.
    fn probe(&self, endpoint: &str, models: Vec<String>, authorization: Authorization) -> Probe;
    /// How it is tried with real requests.
    fn api(&self) -> GatewayApi;
    /// The name of the file with its configuration.
    fn config_name(&self) -> &'static str;
    /// The variable with the key that clients must send.
    fn master_key(&self) -> &'static str;
    /// What stands before the name of a variable in a setting that is read from the environment.
    fn reference(&self) -> &'static str;
    /// The server.
    fn server(&self, server: &GatewayServer) -> Launch;
    /// The way that its server hands its socket off, where it can.
    fn handoff(&self, server: &GatewayServer) -> Option<Handoff>;
    /// Its settings beside the routes, by the names that it has for them.
    fn settings(&self, settings: &GatewaySettings<'_>) -> serde_json::Map<String, serde_json::Value>;
    /// The raw settings that it renders from others of the manifest, by JSON pointers, and those others.
    fn rendered_settings(&self) -> &'static [(&'static str, &'static str)];
    /// An example of raw settings.
    fn raw_settings(&self) -> &'static str;
    /// The settings in which users relate models to each other.
    fn relations(&self) -> Relations;
    /// The settings of the cache: their sections and names.
    fn cache_settings(&self) -> &'static [(&'static str, &'static str)];
    /// The text of its configuration.
    fn render(&self, stack: &str, routing: &Routing) -> String;
}

impl Models {
    /// Returns whether each model has a server of its own.
    #[must_use]
    pub const fn has_a_server_each(self) -> bool {
        matches!(self, Self::File | Self::Repository)
    }
}

/// Returns the engine of a name, whatever its role.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Engine> {
    all().find(|engine| engine.name() == name)
}

/// Returns the values that servers of an engine report of themselves.
#[must_use]
pub fn readings(name: &str) -> &'static [Reading] {
    PROVIDERS.iter().find(|engine| engine.name() == name).map(|engine| engine.readings()).unwrap_or_default()
}

/// Returns the gateway of a name.
#[must_use]
pub fn gateway(name: &str) -> Option<&'static dyn Gateway> {
    GATEWAYS.iter().copied().find(|engine| engine.name() == name)
}

/// Returns every engine.
pub fn all() -> impl Iterator<Item = &'static dyn Engine> {
    let providers = PROVIDERS.iter().map(|engine| *engine as &dyn Engine);
    let caches = CACHES.iter().map(|engine| *engine as &dyn Engine);
    let gateways = GATEWAYS.iter().map(|engine| *engine as &dyn Engine);
    providers.chain(caches).chain(gateways)
}

/// Returns whether a line is where a Python program names what went wrong: the name of an exception and its message.
#[must_use]
pub fn names_exception(line: &str) -> bool {
    // Of pydantic, about a value that it was given.
    line.contains("Value error, ") || line.split(' ').any(is_exception) && !line.trim_end().ends_with("Error:")
}

/// Returns whether a word is an exception's name with its colon, such as `ValueError:`.
fn is_exception(word: &str) -> bool {
    let is_name = |name: &str| name.split('.').all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_'));
    word.strip_suffix(':').is_some_and(|name| name.len() > "Error".len() && name.ends_with("Error") && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::{all, find};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_lead_to_their_engines() {
        let names: BTreeSet<&str> = all().map(super::Engine::name).collect();
        assert_eq!(names.len(), all().count());
        for engine in all() {
            assert_eq!(find(engine.name()).map(super::Engine::title), Some(engine.title()));
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(engine.name().chars().all(plain), "{}", engine.name());
        }
        assert!(find("triton").is_none());
    }
}
