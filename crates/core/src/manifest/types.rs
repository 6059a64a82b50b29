//! The manifest, version 1, as types. Their doc comments are the descriptions in the JSON Schema.

use super::addresses::{HttpAddress, RedisAddress, ServicePort};
use super::common::{Common, HealthSettings, Install, LimitSettings, Network, RuntimeName, runnable};
use super::engine::{CacheEngine, GatewayEngine, ProviderEngine};
use super::values::{Argv, Entries, RawSettings, SecretSource, Size, Source, Spanned, Time, positive};
use crate::resource::{Mode, Port};
use schemars::JsonSchema;
use serde::Deserialize;

/// A local AI stack.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1.
    pub version: Spanned<u64>,
    /// The stack's name: lower-case letters, digits and `-`. It begins the names of units and containers.
    pub stack: Spanned<String>,
    /// What this stack may use of the machine.
    #[serde(default)]
    pub machine: Machine,
    /// Servers that offer models.
    #[serde(default)]
    pub providers: Entries<Provider>,
    /// Models, by the names under which clients ask the gateway for them.
    #[serde(default)]
    pub models: Entries<Model>,
    /// The gateway's cache.
    pub cache: Option<Spanned<Cache>>,
    /// The one address that clients talk to.
    pub gateway: Option<Spanned<Gateway>>,
    /// Anything else that belongs to the stack.
    #[serde(default)]
    pub services: Entries<Service>,
    /// The rules by which the stack is changed.
    #[serde(default)]
    pub policy: Policy,
}

/// What a stack may use of the machine.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The GPUs and what may be used of each; by default every GPU, its total less 1 GiB.
    pub gpus: Option<Vec<Gpu>>,
    /// The host memory that may be used; by default the machine's total less 2 GiB.
    pub memory: Option<Spanned<Size>>,
    /// Where model files are kept.
    #[serde(default)]
    pub models: ModelFiles,
}

/// A GPU, and what may be used of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Its index, or its UUID.
    pub device: Spanned<GpuChoice>,
    /// The memory that may be used.
    pub budget: Option<Spanned<Size>>,
}

/// A GPU by its index or its UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuChoice(pub String);

/// Where model files are kept.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFiles {
    /// The folder; by default `$XDG_DATA_HOME/llamero/models`.
    pub path: Option<Spanned<String>>,
    /// The room that downloads leave on that disk.
    pub keep_free: Option<Spanned<Size>>,
}

runnable! {
    /// A server that offers models: an engine on a runtime.
    pub struct Provider {
        /// What runs.
        pub engine: Spanned<ProviderEngine>,
        /// Its port; of llama.cpp and vLLM the first of the ports that their servers take in the order of the models.
        pub port: Option<Spanned<Port>>,
        /// The GPUs that it may use.
        #[serde(default)]
        pub gpus: Vec<Spanned<GpuChoice>>,
        /// The memory that it may use on its GPUs.
        pub memory: Option<Spanned<Size>>,
        /// Whether a vLLM that no route leads to and that must make room on its GPU sleeps until what takes it, on another
        /// port, has proved itself, instead of ending: it is back in seconds then if it must be.
        #[serde(default)]
        pub sleep: Spanned<bool>,
        /// Settings of the engine.
        #[serde(default)]
        pub settings: RawSettings,
        /// The address of a server that somebody else runs, with `/v1` where it has that.
        pub endpoint: Option<Spanned<HttpAddress>>,
        /// The key that it asks for.
        pub api_key: Option<SecretSource>,
        /// What llamero changes on a server that somebody else runs: `models`, or nothing.
        pub manage: Option<Spanned<Managed>>,
    }
}

/// What llamero changes on a server that somebody else runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Managed {
    /// Its models.
    Models,
}

/// When a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// It stays loaded.
    Pinned,
    /// It is loaded when it is asked for.
    #[default]
    OnDemand,
}

/// A model that clients ask the gateway for by name.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider that it lives on.
    pub provider: Spanned<String>,
    /// Where it comes from; by default its own name.
    pub source: Option<Spanned<Source>>,
    /// The SHA-256 digest of its file.
    pub sha256: Option<Spanned<String>>,
    /// How many tokens it sees at once.
    #[serde(default, deserialize_with = "positive")]
    #[schemars(with = "Option<u64>")]
    pub context: Option<Spanned<u64>>,
    /// How many requests it serves at once.
    #[serde(default, deserialize_with = "positive")]
    #[schemars(with = "Option<u64>")]
    pub parallel: Option<Spanned<u64>>,
    /// How many layers go to the GPU; by default as many as fit.
    pub gpu_layers: Option<Spanned<u64>>,
    /// The type of its key-value cache, such as `f16` or `q8_0`.
    pub kv_cache_type: Option<Spanned<String>>,
    /// Whether it uses flash attention.
    pub flash_attention: Option<Spanned<bool>>,
    /// What it is for.
    #[serde(default)]
    pub mode: Mode,
    /// The port of its server, where it has one of its own.
    pub port: Option<Spanned<Port>>,
    /// The models that answer in its place when it cannot, in this order.
    #[serde(default)]
    pub fallbacks: Vec<Spanned<String>>,
    /// When it is loaded.
    pub load: Option<Spanned<Load>>,
    /// Words appended to the command of its server.
    #[serde(default)]
    pub args: Spanned<Argv>,
    /// Fetch it over plain HTTP.
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
        /// What keeps answers.
        pub engine: Spanned<CacheEngine>,
        /// Its port.
        pub port: Option<Spanned<Port>>,
        /// The memory that it may use; the oldest answers go first.
        pub memory: Option<Spanned<Size>>,
        /// How long answers are kept.
        pub ttl: Option<Spanned<Time>>,
        /// The address of a Redis that somebody else runs: `host:port`, or `rediss://host:port/database`.
        pub endpoint: Option<Spanned<RedisAddress>>,
        /// The password that it asks for.
        pub password: Option<SecretSource>,
    }
}

runnable! {
    /// The one address that clients talk to.
    pub struct Gateway {
        /// What it is.
        pub engine: Spanned<GatewayEngine>,
        /// Its port.
        pub port: Option<Spanned<Port>>,
        /// Where its rendered configuration lives.
        pub config: Option<Spanned<String>>,
        /// Further places that get the same configuration.
        #[serde(default)]
        pub also_at: Vec<Spanned<String>>,
        /// The key that clients must know.
        pub master_key: Option<SecretSource>,
        /// How many failures within a minute put a model aside.
        pub allowed_fails: Option<Spanned<u64>>,
        /// How long a model that fails is put aside.
        pub cooldown: Option<Spanned<Time>>,
        /// How often a request is tried again.
        pub retries: Option<Spanned<u64>>,
        /// Settings that are passed through to its configuration.
        #[serde(default)]
        pub settings: Spanned<RawSettings>,
    }
}

runnable! {
    /// Anything else that belongs to the stack.
    pub struct Service {
        /// Ports that it listens on, as `host:inside` for a container or a number.
        #[serde(default)]
        pub ports: Vec<Spanned<ServicePort>>,
        /// What must be healthy before it starts: providers, services, `cache`, `gateway`.
        #[serde(default)]
        pub after: Vec<Spanned<String>>,
        /// The folder in which it runs.
        pub working_directory: Option<Spanned<String>>,
    }
}

/// What to do about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPolicy {
    /// Put it right.
    #[default]
    Correct,
    /// Say it and leave it.
    Warn,
}

/// What to do when an apply fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rollback {
    /// Go back to the last good generation.
    #[default]
    Auto,
    /// Leave everything as it is.
    Off,
}

/// How the gateway's routes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    /// All at once.
    #[default]
    AtOnce,
    /// That of one model first, which is tried before the others follow.
    Canary,
}

/// The rules by which a stack is changed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What to do about drift.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Whether what is llamero's and no longer declared is removed; it is unless this says `false`.
    pub prune: Option<bool>,
    /// What to do when an apply fails.
    #[serde(default)]
    pub rollback: Rollback,
    /// How the gateway's routes change.
    #[serde(default)]
    pub rollout: Rollout,
    /// The model whose route changes first, with `rollout: canary`.
    pub canary: Option<Spanned<String>>,
    /// How long it is tried with requests before the others follow; 30 s unless this says otherwise.
    pub canary_for: Option<Spanned<Time>>,
    /// What holds for every server that does not say its own.
    #[serde(default)]
    pub health: HealthSettings,
}
