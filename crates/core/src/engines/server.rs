//! The values that an engine is asked with, and those that it answers with.

use super::settings::Value;
use crate::resource::{Bytes, Command, ManifestPath, Mode, Mount, Origin, Origins, Restart, Seconds};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The server of one model, as the manifest and the machine describe it.
#[derive(Debug, Clone)]
pub struct ModelServer<'a> {
    /// The model's name.
    pub name: &'a str,
    /// The setting `models.NAME`.
    pub model_path: ManifestPath,
    /// The setting `providers.NAME`.
    pub provider_path: ManifestPath,
    /// The place of the model.
    pub place: ModelPlace,
    /// The source as the manifest writes it.
    pub source: Origin,
    /// The address to listen on.
    pub listen: &'a str,
    /// The port to listen on.
    pub port: u16,
    /// The setting that the port comes from.
    pub port_origin: Option<Origin>,
    /// The number of tokens that it sees at once.
    pub context: Option<u64>,
    /// The number of requests that it serves at once.
    pub parallel: Option<u64>,
    /// The number of layers that go to the GPU.
    pub gpu_layers: Option<u64>,
    /// The type of the key-value cache.
    pub kv_cache_type: Option<&'a str>,
    /// True if it uses flash attention.
    pub flash_attention: Option<bool>,
    /// The purpose.
    pub mode: Mode,
    /// The settings of the engine.
    pub settings: Vec<Value>,
    /// The share of its GPU, and the setting that it comes from.
    pub share: Option<(String, Origin)>,
    /// True if it must be able to sleep.
    pub sleep: bool,
    /// The user's folder of caches.
    pub caches: PathBuf,
    /// True if it runs in a container of an image that has the engine's program.
    pub in_container: bool,
    /// True if the manifest gives the command.
    pub own_command: bool,
}

/// The place of a model.
#[derive(Debug, Clone)]
pub enum ModelPlace {
    /// A file or a folder on this machine.
    Path(PathBuf),
    /// A repository of the hub.
    Repository {
        /// `organization/repository`.
        name: String,
        /// The revision, if there is one.
        revision: Option<String>,
        /// The hub's address.
        hub: String,
    },
}

/// The server of all models of a provider.
#[derive(Debug, Clone)]
pub struct PulledServer<'a> {
    /// The setting `providers.NAME`.
    pub provider_path: ManifestPath,
    /// The address to listen on.
    pub listen: &'a str,
    /// The port to listen on.
    pub port: u16,
    /// The user's home.
    pub home: PathBuf,
    /// The name of the volume that keeps models, in a container.
    pub volume: Option<String>,
    /// The settings of the engine.
    pub settings: Vec<Value>,
    /// True if the manifest gives the command.
    pub own_command: bool,
}

/// The server of a cache.
#[derive(Debug, Clone)]
pub struct CacheServer {
    /// The address to listen on.
    pub listen: &'static str,
    /// The port to listen on, and the setting that it comes from.
    pub port: (u16, Option<Origin>),
    /// The memory that it may use, and the setting that it comes from.
    pub memory: Option<(Bytes, Origin)>,
    /// True if it runs in a network of its own.
    pub isolated: bool,
}

/// An engine's own part of a server: what follows the program, what it reads, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// The arguments after the program.
    pub arguments: Command,
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// The settings that variables come from.
    pub origins: Origins,
    /// The mounts from the host.
    pub mounts: Vec<Mount>,
    /// True if a container shares memory segments with the host.
    pub ipc_host: bool,
    /// The restart policy when it ends by itself.
    pub restart: Restart,
    /// The time that it may take to load, where the manifest says nothing.
    pub timeout: Option<Seconds>,
    /// The folder on this machine in which it keeps what it pulls.
    pub store: Option<PathBuf>,
}

/// The way that a gateway reaches a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// The protocol's name, which stands before the model's.
    pub prefix: &'static str,
    /// True if the address ends in `/v1`.
    pub versioned: bool,
}

/// The share of a GPU that a server claims when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareOfGpu {
    /// The flag that says it.
    pub flag: &'static str,
    /// The setting that says it.
    pub setting: &'static str,
}

/// A value that a server reports of itself, and the option that declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The path that answers `GET` with JSON, without loading or running anything.
    pub path: &'static str,
    /// The JSON pointer (RFC 6901) to the number in the answer.
    pub pointer: &'static str,
    /// The option of its command that declares the value.
    pub option: &'static str,
    /// The option that says among how many the declared value is divided.
    pub shared_by: Option<&'static str>,
}

impl ModelServer<'_> {
    /// Returns the origin of a field of the model.
    #[must_use]
    pub fn of_model(&self, key: &str, value: impl ToString) -> Option<Origin> {
        Some(Origin::new(self.model_path.key(key), value))
    }

    /// Returns the origin of the model's name.
    #[must_use]
    pub fn of_name(&self) -> Option<Origin> {
        Some(Origin::declared(self.model_path.clone()))
    }
}

impl Value {
    /// Returns the origin of a setting of a provider.
    #[must_use]
    pub fn origin(&self, provider: &ManifestPath) -> Option<Origin> {
        Some(Origin::new(provider.key("settings").key(self.name), &self.written))
    }
}

impl ShareOfGpu {
    /// Returns whether a word is the flag, in either spelling and with or without its value.
    #[must_use]
    pub fn is_flag(&self, word: &str) -> bool {
        word.split('=').next().is_some_and(|word| word.replace('_', "-") == self.flag)
    }

    /// Returns the share that a command claims. The last word counts.
    #[must_use]
    pub fn claim(&self, argv: &[String]) -> crate::resource::GpuClaim {
        let next = argv.iter().skip(1).map(Some).chain([None]);
        let shares = argv.iter().zip(next).filter(|(word, _)| self.is_flag(word));
        let shares = shares.filter_map(|(word, next)| match word.split_once('=') {
            Some((_, share)) => Some(share),
            None => next.map(String::as_str),
        });
        shares.last().map_or(crate::resource::GpuClaim::Default, crate::resource::GpuClaim::parse)
    }
}
