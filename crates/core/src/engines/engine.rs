//! The interface of engines, by their roles.

use super::gateway::{GatewayServer, GatewaySettings, Handoff};
use super::rendered::{ModelFields, Rendered};
use super::routing::{Relations, Routing};
use super::server::{CacheServer, Launch, ModelServer, PulledServer, Reading, ShareOfGpu, Upstream};
use super::settings::Settings;
use crate::resource::{Authorization, GatewayApi, Mode, Probe, SleepCalls};

/// The interface of every engine.
pub trait Engine: Sync {
    /// The name in the manifest.
    fn name(&self) -> &'static str;
    /// The name that people call it by, for messages.
    fn title(&self) -> &'static str;
    /// One sentence for the schema of the manifest.
    fn about(&self) -> &'static str;
    /// The program that it is, where the manifest gives no command; `None` of what llamero does not run.
    fn program(&self) -> Option<&'static str>;
    /// Returns whether a line of its log names the cause of a failure, and does not merely report one.
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
    /// The trial of it with real requests.
    fn api(&self) -> GatewayApi;
    /// The name of the file with its configuration.
    fn config_name(&self) -> &'static str;
    /// The variable with the key that clients must send.
    fn master_key(&self) -> &'static str;
    /// The prefix of a variable's name in a setting that is read from the environment.
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
