//! The fields that all servers share.

use super::names::{ContainerName, HttpPath, Image, UnitName, Word};
use super::template::Template;
use super::values::{Argv, Cores, Entries, SecretSource, Size, Spanned, Time};
use crate::resource::Volume;
use schemars::JsonSchema;
use serde::Deserialize;

/// The runtime of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeName {
    /// A unit of the systemd user manager.
    Systemd,
    /// A container of Docker or Podman.
    Docker,
    /// A process under llamero's own supervisor, without further dependencies.
    Process,
    /// External: the server is observed and routed to, never changed.
    External,
}

impl RuntimeName {
    /// Returns the runtime's name in the manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Docker => "docker",
            Self::Process => "process",
            Self::External => "external",
        }
    }
}

/// The network of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The host's network: the server listens where it is configured to, and reaches loopback.
    Host,
    /// The stack's own network: the server is reached through published ports, and reaches the others by name.
    Bridge,
}

/// The software installed for a server, isolated from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Python packages, as `pip` understands them. They are installed into an isolated environment.
    #[serde(default)]
    pub python: Spanned<Argv>,
}

/// Limits that the runtime enforces.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// The most host memory.
    pub memory: Option<Spanned<Size>>,
    /// The most processor cores, such as `1.5`.
    pub cpus: Option<Spanned<Cores>>,
}

/// The health rules of a server.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// A path that answers with a status below 400 when the server is healthy.
    pub path: Option<Spanned<HttpPath>>,
    /// The longest wait without progress until the server is healthy.
    pub timeout: Option<Spanned<Time>>,
    /// The time for which the server must stay healthy and unchanged to be verified.
    pub stable_for: Option<Spanned<Time>>,
}

/// The fields that all servers share.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// The runtime.
    pub runtime: Option<&'a Spanned<RuntimeName>>,
    /// The command.
    pub command: Option<&'a Spanned<Argv>>,
    /// Arguments appended to the command.
    pub args: &'a Spanned<Argv>,
    /// Environment variables.
    pub env: &'a Entries<Spanned<Template>>,
    /// Environment variables with secret values.
    pub secrets: &'a Entries<SecretSource>,
    /// The container image.
    pub image: Option<&'a Spanned<Image>>,
    /// The software installed for it.
    pub install: &'a Install,
    /// Limits that the runtime enforces.
    pub limits: &'a LimitSettings,
    /// Its health rules.
    pub health: &'a HealthSettings,
    /// Its unit's name.
    pub unit: Option<&'a Spanned<UnitName>>,
    /// Its container's name.
    pub container: Option<&'a Spanned<ContainerName>>,
    /// The mounts of its container.
    pub volumes: &'a [Spanned<Volume>],
    /// The network of its container.
    pub network: Option<&'a Spanned<Network>>,
    /// The user that its container runs as.
    pub user: Option<&'a Spanned<Word>>,
    /// True if its container's root file system is read-only.
    pub read_only: &'a Spanned<bool>,
    /// The size of its container's `/dev/shm`.
    pub shm_size: Option<&'a Spanned<Size>>,
    /// True if llamero takes over an existing unit or container of that name.
    pub adopt: &'a Spanned<bool>,
}

/// Declares a section of the manifest for a server: its own fields and the common ones.
macro_rules! runnable {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// The runtime.
            pub runtime: Option<Spanned<RuntimeName>>,
            /// The command, if it is not the engine's own. A bare program name is looked up in the installed
            /// environment, then on the PATH; arguments that begin with `./` are relative to the manifest.
            pub command: Option<Spanned<Argv>>,
            /// Arguments appended to the command.
            #[serde(default)]
            pub args: Spanned<Argv>,
            /// Environment variables without secrets.
            #[serde(default)]
            pub env: Entries<Spanned<crate::manifest::Template>>,
            /// Environment variables with secret values, each by reference.
            #[serde(default)]
            pub secrets: Entries<SecretSource>,
            /// The container image, with a tag or a digest.
            pub image: Option<Spanned<crate::manifest::Image>>,
            /// The software installed for it, isolated from the rest of the machine.
            #[serde(default)]
            pub install: Install,
            /// Limits that the runtime enforces.
            #[serde(default)]
            pub limits: LimitSettings,
            /// Its health rules.
            #[serde(default)]
            pub health: HealthSettings,
            /// The name of its unit, if it is not derived from the stack's name.
            pub unit: Option<Spanned<crate::manifest::UnitName>>,
            /// The name of its container, if it is not derived from the stack's name.
            pub container: Option<Spanned<crate::manifest::ContainerName>>,
            /// The mounts of its container: `PATH:TARGET` or `VOLUME:TARGET`, with `:ro` for read-only.
            #[serde(default)]
            pub volumes: Vec<Spanned<crate::resource::Volume>>,
            /// The network of its container: the host's, the default for engines, or the stack's own.
            pub network: Option<Spanned<Network>>,
            /// The user that its container runs as, if it is not the image's own.
            pub user: Option<Spanned<crate::manifest::Word>>,
            /// Makes the root file system of its container read-only.
            #[serde(default)]
            pub read_only: Spanned<bool>,
            /// The size of its container's `/dev/shm`.
            pub shm_size: Option<Spanned<Size>>,
            /// Takes over an existing unit or container of that name.
            #[serde(default)]
            pub adopt: Spanned<bool>,
        }

        impl $name {
            /// Returns the fields that all servers share.
            #[must_use]
            pub const fn common(&self) -> Common<'_> {
                Common {
                    runtime: self.runtime.as_ref(),
                    command: self.command.as_ref(),
                    args: &self.args,
                    env: &self.env,
                    secrets: &self.secrets,
                    image: self.image.as_ref(),
                    install: &self.install,
                    limits: &self.limits,
                    health: &self.health,
                    unit: self.unit.as_ref(),
                    container: self.container.as_ref(),
                    volumes: self.volumes.as_slice(),
                    network: self.network.as_ref(),
                    user: self.user.as_ref(),
                    read_only: &self.read_only,
                    shm_size: self.shm_size.as_ref(),
                    adopt: &self.adopt,
                }
            }
        }
    };
}

pub(super) use runnable;
