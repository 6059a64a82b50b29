//! The fields that everything shares that runs.

use super::values::{Argv, Entries, SecretSource, Size, Spanned, Time};
use schemars::JsonSchema;
use serde::Deserialize;

/// How a server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeName {
    /// A unit of the systemd user manager.
    Systemd,
    /// A container of Docker or Podman.
    Docker,
    /// A process under llamero's own supervisor: needs nothing else.
    Process,
    /// Somebody else runs it: it is observed and routed to, never changed.
    External,
}

impl RuntimeName {
    /// Returns the runtime as it is written.
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
    /// The machine's own: it listens where it is told to, and reaches what listens on loopback.
    Host,
    /// One of the stack's own: it is reached through published ports, and reaches its neighbours by their names.
    Bridge,
}

/// What is installed for a server, apart from everything else on the machine.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Python packages, as `pip` understands them. They are installed into an environment of their own.
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
    pub cpus: Option<Spanned<f64>>,
}

/// How a server shows that it is healthy.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// A path that answers with a status below 400 when it is healthy.
    pub path: Option<Spanned<String>>,
    /// The longest wait without any progress until it is healthy.
    pub timeout: Option<Spanned<Time>>,
    /// How long it must stay healthy and unchanged before that counts.
    pub stable_for: Option<Spanned<Time>>,
}

/// The fields that everything shares that runs, whatever it is.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// How it is run.
    pub runtime: Option<&'a Spanned<RuntimeName>>,
    /// The command.
    pub command: Option<&'a Spanned<Argv>>,
    /// Words appended to the command.
    pub args: &'a Spanned<Argv>,
    /// Environment variables.
    pub env: &'a Entries<Spanned<String>>,
    /// Environment variables whose values are secret.
    pub secrets: &'a Entries<SecretSource>,
    /// The container image.
    pub image: Option<&'a Spanned<String>>,
    /// What is installed for it.
    pub install: &'a Install,
    /// Limits that the runtime enforces.
    pub limits: &'a LimitSettings,
    /// How it shows that it is healthy.
    pub health: &'a HealthSettings,
    /// Its unit's name.
    pub unit: Option<&'a Spanned<String>>,
    /// Its container's name.
    pub container: Option<&'a Spanned<String>>,
    /// What its container sees of the host.
    pub volumes: &'a [Spanned<String>],
    /// The network of its container.
    pub network: Option<&'a Spanned<Network>>,
    /// The user that its container runs as.
    pub user: Option<&'a Spanned<String>>,
    /// Whether its container cannot write to its own file system.
    pub read_only: &'a Spanned<bool>,
    /// The size of its container's `/dev/shm`.
    pub shm_size: Option<&'a Spanned<Size>>,
    /// Whether to take over what is there under that name.
    pub adopt: &'a Spanned<bool>,
}

/// Declares a section of the manifest that runs: its own fields, and the common ones.
macro_rules! runnable {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// How it is run.
            pub runtime: Option<Spanned<RuntimeName>>,
            /// The command, when it is not the engine's own. A bare first word is a program of what `install` brings, or
            /// else of the path; words that begin with `./` are relative to the manifest.
            pub command: Option<Spanned<Argv>>,
            /// Words appended to the command.
            #[serde(default)]
            pub args: Spanned<Argv>,
            /// Environment variables, none of them secret.
            #[serde(default)]
            pub env: Entries<Spanned<String>>,
            /// Environment variables whose values are secret, each by reference.
            #[serde(default)]
            pub secrets: Entries<SecretSource>,
            /// The container image, with a tag or a digest.
            pub image: Option<Spanned<String>>,
            /// What is installed for it, apart from everything else on the machine.
            #[serde(default)]
            pub install: Install,
            /// Limits that the runtime enforces.
            #[serde(default)]
            pub limits: LimitSettings,
            /// How it shows that it is healthy.
            #[serde(default)]
            pub health: HealthSettings,
            /// The name of its unit, when it is not to be made from the stack's name.
            pub unit: Option<Spanned<String>>,
            /// The name of its container, when it is not to be made from the stack's name.
            pub container: Option<Spanned<String>>,
            /// What its container sees of the host: `PATH:TARGET` or `VOLUME:TARGET`, with `:ro` if it must not change it.
            #[serde(default)]
            pub volumes: Vec<Spanned<String>>,
            /// The network of its container: that of the host, where engines are at home, or one of the stack's own.
            pub network: Option<Spanned<Network>>,
            /// The user that its container runs as, when it is not the image's own.
            pub user: Option<Spanned<String>>,
            /// Whether its container cannot write to its own file system.
            #[serde(default)]
            pub read_only: Spanned<bool>,
            /// The size of its container's `/dev/shm`.
            pub shm_size: Option<Spanned<Size>>,
            /// Take over what is there under that name.
            #[serde(default)]
            pub adopt: Spanned<bool>,
        }

        impl $name {
            /// Returns the fields that everything shares that runs.
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
