//! A server that runs: what to run, with what, and how to see that it is healthy. The runtimes turn it into a unit or
//! a process.

use super::capability::{GatewayApi, GpuClaim, SleepCalls};
use super::command::Command;
use super::container::Container;
use super::engine_name::EngineName;
use super::fingerprint::{Digest, Fields};
use super::gpu::Gpus;
use super::id::ResourceId;
use super::probe::Probe;
use super::units::{Bytes, Seconds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The runtime that keeps a server running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// A unit of the systemd user manager.
    Systemd,
    /// llamero's own supervisor.
    Process,
    /// A container engine: Docker, or Podman in its place.
    Docker,
}

/// The restart policy of a runtime for a server that ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Starts it again unless it exits with success.
    #[default]
    OnFailure,
    /// Starts it again, however it exits.
    Always,
}

/// Something that a server reads when it starts: when it changes, the server must start again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The resource that it is.
    pub resource: ResourceId,
    /// The digest of its content.
    pub digest: Digest,
}

/// A file whose lines `NAME="value"` are added to a server's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunFile(pub PathBuf);

/// Limits that the runtime enforces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// The most host memory; `MemoryMax=` of systemd.
    pub memory: Option<Bytes>,
    /// Processor time in hundredths of a core; `CPUQuota=` of systemd in per cent.
    pub cpu_percent: Option<u32>,
}

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The runtime that keeps it running.
    pub runtime: Runtime,
    /// The engine that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineName>,
    /// One line that says what it is, for people who meet it in `systemctl`.
    pub description: String,
    /// The command; outside of a container the first word is an absolute path.
    pub command: Command,
    /// Environment variables, none of them secret.
    pub environment: BTreeMap<String, String>,
    /// The file with the secret part of the environment.
    pub environment_file: Option<RunFile>,
    /// The folder in which it runs.
    pub working_directory: Option<PathBuf>,
    /// The files that it reads when it starts.
    pub inputs: Vec<Input>,
    /// Limits that the runtime enforces.
    pub limits: Limits,
    /// Loopback ports that it listens on.
    pub ports: Vec<u16>,
    /// Host memory that it is allowed to take, against the machine's budget.
    pub memory: Option<Bytes>,
    /// Properties of its container, on the runtime that has containers. Its command is then the words that
    /// go to the image's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<Container>>,
    /// The GPUs that it may use.
    #[serde(default, skip_serializing_if = "Gpus::is_none")]
    pub gpus: Gpus,
    /// The memory that it claims on them when it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_claim: Option<GpuClaim>,
    /// The calls by which it gives its GPU's memory back without ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepCalls>,
    /// The trial of the gateway, where this is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayApi>,
    /// True if it hands its port on to its successor, so that no request is lost when another takes its place. Its
    /// command is then the launcher's, and its stop timeout is what its last streams get to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub socket_handoff: bool,
    /// The probe of its health.
    pub probe: Probe,
    /// The longest wait until it is healthy.
    pub timeout: Seconds,
    /// The time for which it must stay healthy and unchanged before that counts.
    pub stable_for: Seconds,
    /// The time for it to stop before it is killed.
    pub stop_timeout: Seconds,
    /// The restart policy when it ends by itself.
    #[serde(default)]
    pub restart: Restart,
}

/// The factor on its timeout within which a server may become healthy, as long as it makes visible progress.
const LONGEST: u64 = 10;

impl Run {
    /// Returns a server with nothing but its command: no limits, no ports, and healthy while it runs.
    #[must_use]
    pub fn plain(runtime: Runtime, command: Command) -> Self {
        Self {
            runtime,
            engine: None,
            description: String::new(),
            command,
            environment: BTreeMap::new(),
            environment_file: None,
            working_directory: None,
            inputs: Vec::new(),
            limits: Limits::default(),
            ports: Vec::new(),
            memory: None,
            container: None,
            gpus: Gpus::None,
            gpu_claim: None,
            sleep: None,
            gateway: None,
            socket_handoff: false,
            probe: Probe::Running,
            timeout: Seconds::new(10),
            stable_for: Seconds::new(1),
            stop_timeout: Seconds::new(1),
            restart: Restart::default(),
        }
    }

    /// Returns the hard cap of the wait until it is healthy. Its timeout is what it gets without any progress.
    #[must_use]
    pub const fn longest_start(&self) -> Seconds {
        Seconds { milliseconds: self.timeout.milliseconds.saturating_mul(LONGEST) }
    }

    /// Returns the fields whose change means that the server must start again.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = self.command.fields();
        for (name, value) in &self.environment {
            fields.insert(format!("environment {name}"), value.into());
        }
        for Input { resource, digest } in &self.inputs {
            fields.insert(resource.to_string(), digest.short().into());
        }
        let optional = [
            ("environment file", self.environment_file.as_ref().map(|file| file.0.display().to_string())),
            ("working directory", self.working_directory.as_ref().map(|path| path.display().to_string())),
            ("limits.memory", self.limits.memory.map(Bytes::exact)),
            ("limits.cpus", self.limits.cpu_percent.map(|percent| format!("{percent}%"))),
            ("restart", (self.restart == Restart::Always).then(|| "always".to_owned())),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        fields.insert("stop timeout".to_owned(), self.stop_timeout.to_string().into());
        if self.socket_handoff {
            // Its command does not say it: it is the socket's.
            let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
            fields.insert("port".to_owned(), ports.join(" ").into());
        }
        if let Some(container) = &self.container {
            fields.extend(container.fields());
            // Elsewhere its environment says it.
            let gpus = match &self.gpus {
                Gpus::None | Gpus::Unspecified => None,
                Gpus::All => Some("all".to_owned()),
                Gpus::Devices(devices) => Some(devices.join(", ")),
            };
            fields.extend(gpus.map(|gpus| ("gpus".to_owned(), gpus.into())));
        }
        fields
    }
}
