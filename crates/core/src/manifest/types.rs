//! The manifest, version 1, as types. Their doc comments are the descriptions in the JSON Schema.

use super::addresses::{HttpAddress, RedisAddress, ServicePort};
use super::common::{Common, HealthSettings, Install, LimitSettings, Network, RuntimeName, runnable};
use super::engine::{CacheEngine, GatewayEngine, ProviderEngine};
use super::names::{PathText, Sha256, Word};
use super::source::Source;
use super::values::{Argv, Entries, Entry, RawSettings, SecretSource, Size, Spanned, Time, positive};
use crate::engines::Models;
use crate::resource::{GpuDevice, Mode, OllamaName, Port};
use schemars::JsonSchema;
use serde::Deserialize;

/// A local AI stack.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1.
    pub version: Spanned<u64>,
    /// The stack's name: lower-case letters, digits and `-`. It prefixes the names of units and containers.
    pub stack: Spanned<String>,
    /// The resources of the machine that this stack may use.
    #[serde(default)]
    pub machine: Machine,
    /// Servers that provide models.
    #[serde(default)]
    pub providers: Entries<Provider>,
    /// Models, by the names that clients use at the gateway.
    #[serde(default)]
    pub models: Entries<Model>,
    /// The gateway's cache.
    pub cache: Option<Spanned<Cache>>,
    /// The one address that clients connect to.
    pub gateway: Option<Spanned<Gateway>>,
    /// Further servers of the stack.
    #[serde(default)]
    pub services: Entries<Service>,
    /// The rules for changes of the stack.
    #[serde(default)]
    pub policy: Policy,
}

/// The resources of the machine that a stack may use.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The GPUs and the memory budget of each; by default every GPU, its total less 1 GiB.
    pub gpus: Option<Vec<Gpu>>,
    /// The host memory budget; by default the machine's total less 2 GiB.
    pub memory: Option<Spanned<Size>>,
    /// The storage of model files.
    #[serde(default)]
    pub models: ModelFiles,
}

/// A GPU and its memory budget.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Its index or UUID.
    pub device: Spanned<GpuDevice>,
    /// The memory budget.
    pub budget: Option<Spanned<Size>>,
}

/// The storage of model files.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFiles {
    /// The folder; by default `$XDG_DATA_HOME/llamero/models`.
    pub path: Option<Spanned<PathText>>,
    /// The free space that downloads leave on that disk.
    pub keep_free: Option<Spanned<Size>>,
}

runnable! {
    /// A server that provides models: an engine on a runtime.
    pub struct Provider {
        /// The engine.
        pub engine: Spanned<ProviderEngine>,
        /// Its port; for llama.cpp and vLLM the first of the ports assigned to their servers in the order of the
        /// models.
        pub port: Option<Spanned<Port>>,
        /// The GPUs that it may use.
        #[serde(default)]
        pub gpus: Vec<Spanned<GpuDevice>>,
        /// The memory that it may use on its GPUs.
        pub memory: Option<Spanned<Size>>,
        /// If true, a vLLM server without a route that must free its GPU sleeps instead of stopping until its
        /// successor, on another port, is verified: a rollback then takes seconds.
        #[serde(default)]
        pub sleep: Spanned<bool>,
        /// Settings of the engine.
        #[serde(default)]
        pub settings: RawSettings,
        /// The address of an external server, with `/v1` if the server uses that prefix.
        pub endpoint: Option<Spanned<HttpAddress>>,
        /// The API key that the server requires.
        pub api_key: Option<SecretSource>,
        /// The part of an external server that llamero manages: `models`, or nothing.
        pub manage: Option<Spanned<Managed>>,
    }
}

impl Provider {
    /// Returns whether llamero does not run its server.
    #[must_use]
    pub fn is_external(&self) -> bool {
        let external = self.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::External);
        external || self.engine.value.models() == Models::Upstream
    }
}

impl Entry<Model> {
    /// Returns the name by which Ollama pulls it; `None` where its source is no such name.
    #[must_use]
    pub fn ollama_name(&self) -> Option<OllamaName> {
        match &self.value.source {
            Some(source) => source.ollama_name().ok(),
            None => OllamaName::parse(&self.name.value).ok(),
        }
    }
}

/// The part of an external server that llamero manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Managed {
    /// Its models.
    Models,
}

/// The loading policy of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// It stays loaded.
    Pinned,
    /// It is loaded on the first request.
    #[default]
    OnDemand,
}

/// A model that clients request from the gateway by name.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider that serves it.
    pub provider: Spanned<String>,
    /// Its source; by default its own name.
    pub source: Option<Spanned<Source>>,
    /// The SHA-256 digest of its file.
    pub sha256: Option<Spanned<Sha256>>,
    /// The context length, in tokens.
    #[serde(default, deserialize_with = "positive")]
    #[schemars(with = "Option<u64>")]
    pub context: Option<Spanned<u64>>,
    /// The number of requests served in parallel.
    #[serde(default, deserialize_with = "positive")]
    #[schemars(with = "Option<u64>")]
    pub parallel: Option<Spanned<u64>>,
    /// The number of layers on the GPU; by default as many as fit.
    pub gpu_layers: Option<Spanned<u64>>,
    /// The type of its key-value cache, such as `f16` or `q8_0`.
    pub kv_cache_type: Option<Spanned<Word>>,
    /// Enables or disables flash attention.
    pub flash_attention: Option<Spanned<bool>>,
    /// The kind of requests that it serves.
    #[serde(default)]
    pub mode: Mode,
    /// The port of its server, if the engine has one server per model.
    pub port: Option<Spanned<Port>>,
    /// The models that answer instead when it fails, in this order.
    #[serde(default)]
    pub fallbacks: Vec<Spanned<String>>,
    /// The loading policy.
    pub load: Option<Spanned<Load>>,
    /// Arguments appended to the command of its server.
    #[serde(default)]
    pub args: Spanned<Argv>,
    /// Allows a download over plain HTTP.
    #[serde(default)]
    pub insecure: Spanned<bool>,
    /// Parameters of an Ollama model.
    pub parameters: Option<Spanned<RawSettings>>,
    /// The prompt template of an Ollama model.
    pub template: Option<Spanned<String>>,
    /// The system prompt of an Ollama model.
    pub system: Option<Spanned<String>>,
}

runnable! {
    /// The gateway's cache.
    pub struct Cache {
        /// The storage.
        pub engine: Spanned<CacheEngine>,
        /// Its port.
        pub port: Option<Spanned<Port>>,
        /// The memory that it may use; the oldest answers are evicted first.
        pub memory: Option<Spanned<Size>>,
        /// The time to live of answers.
        pub ttl: Option<Spanned<Time>>,
        /// The address of an external Redis server: `host:port`, or `rediss://host:port/database`.
        pub endpoint: Option<Spanned<RedisAddress>>,
        /// The password that the server requires.
        pub password: Option<SecretSource>,
    }
}

runnable! {
    /// The one address that clients connect to.
    pub struct Gateway {
        /// The engine.
        pub engine: Spanned<GatewayEngine>,
        /// Its port.
        pub port: Option<Spanned<Port>>,
        /// The path of its rendered configuration.
        pub config: Option<Spanned<PathText>>,
        /// Further paths for copies of the configuration.
        #[serde(default)]
        pub also_at: Vec<Spanned<PathText>>,
        /// The key that clients must send.
        pub master_key: Option<SecretSource>,
        /// The number of failures within a minute after which a model is cooled down.
        pub allowed_fails: Option<Spanned<u64>>,
        /// The time for which a failing model gets no requests.
        pub cooldown: Option<Spanned<Time>>,
        /// The number of retries of a request.
        pub retries: Option<Spanned<u64>>,
        /// Raw settings, merged into its configuration.
        #[serde(default)]
        pub settings: Spanned<RawSettings>,
    }
}

runnable! {
    /// A further server of the stack.
    pub struct Service {
        /// Ports that it listens on: a number, or `host:container` for a container.
        #[serde(default)]
        pub ports: Vec<Spanned<ServicePort>>,
        /// The parts that must be healthy before it starts: providers, services, `cache`, `gateway`.
        #[serde(default)]
        pub after: Vec<Spanned<String>>,
        /// The working directory.
        pub working_directory: Option<Spanned<PathText>>,
    }
}

/// The policy for drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPolicy {
    /// Repair it.
    #[default]
    Correct,
    /// Report it and leave it.
    Warn,
}

/// The policy for a failed apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rollback {
    /// Roll back to the last committed generation.
    #[default]
    Auto,
    /// Leave the failed change in place.
    Off,
}

/// The strategy for changes of the gateway's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    /// All routes at once.
    #[default]
    AtOnce,
    /// The route of one model first; the others follow once it is verified.
    Canary,
}

/// The rules for changes of a stack.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The policy for drift.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Removes managed resources that are no longer declared, unless set to `false`.
    pub prune: Option<bool>,
    /// The policy for a failed apply.
    #[serde(default)]
    pub rollback: Rollback,
    /// The strategy for changes of the gateway's routes.
    #[serde(default)]
    pub rollout: Rollout,
    /// The model whose route changes first with `rollout: canary`.
    pub canary: Option<Spanned<String>>,
    /// The duration of test requests to it before the others follow; 30 s by default.
    pub canary_for: Option<Spanned<Time>>,
    /// The default health rules of all servers.
    #[serde(default)]
    pub health: HealthSettings,
}
