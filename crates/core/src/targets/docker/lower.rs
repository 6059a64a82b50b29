//! The request that creates a container, as the Engine API has it (`POST /containers/create`).
//!
//! A file with secrets is seen below `/run/secrets` under its own name, where only its owner may read it, and a shell
//! of the image's reads it into the environment: the engine never learns what is in it, and shows it to no one.

use crate::resource::{Container, Gpus, MountSource, Resource, Run, RunFile};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The label that names the stack to which something belongs.
pub const STACK_LABEL: &str = "llamero.stack";

/// The label that names the resource that a container is.
pub const RESOURCE_LABEL: &str = "llamero.resource";

/// The label with the fingerprint of what a container was asked to be.
pub const FINGERPRINT_LABEL: &str = "llamero.fingerprint";

/// The path in a container of the file with its secrets.
const SECRETS: &str = "/run/secrets";

/// A hundredth of a core, in the engine's billionths.
const PERCENT: u64 = 10_000_000;

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman, which speaks Docker's API.
    Podman,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// A container to be created.
#[derive(Debug, Clone, Copy)]
pub struct NewContainer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its server. An empty command is the image's own.
    pub run: &'a Run,
    /// Its other properties.
    pub container: &'a Container,
    /// Its labels, beside that of the stack. They are shown to everyone who may ask the engine.
    pub labels: &'a BTreeMap<String, String>,
}

/// The command that an image declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageCommand {
    /// Its entrypoint.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub words: Vec<String>,
}

/// Returns the labels of the container that a resource is, beside that of the stack.
#[must_use]
pub fn labels(resource: &Resource) -> BTreeMap<String, String> {
    BTreeMap::from([
        (RESOURCE_LABEL.to_owned(), resource.id.to_string()),
        (FINGERPRINT_LABEL.to_owned(), resource.fingerprint().to_string()),
    ])
}

/// Returns whether the command of a container's image must be known: what reads secrets into the environment takes its
/// place.
#[must_use]
pub const fn needs_image_command(run: &Run) -> bool {
    run.environment_file.is_some()
}

/// Returns the request. Keys that say nothing are left out.
#[must_use]
pub fn request(engine: Engine, stack: &str, new: &NewContainer<'_>, image: &ImageCommand) -> Value {
    let NewContainer { name: _, run, container, labels } = new;
    let (entrypoint, command) = command(run, container, image);
    let environment: Vec<String> = run.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // No label of a manifest's can take the place of the stack's.
    let mut labels: BTreeMap<&str, &str> = labels.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    labels.insert(STACK_LABEL, stack);
    let mut exposed = Map::new();
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in &container.publish {
        let inner = format!("{}/{}", port.container, port.protocol);
        exposed.insert(inner.clone(), json!({}));
        let binding = json!({"HostIp": port.address.to_string(), "HostPort": port.host.to_string()});
        bindings.entry(inner).or_default().push(binding);
    }
    let hosts: Vec<String> = container.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let memory = run.limits.memory.map(|memory| memory.0);
    let host = object([
        ("Memory", json!(memory)),
        // Without it the engine allows as much again in swap.
        ("MemorySwap", json!(memory)),
        ("NanoCpus", json!(run.limits.cpu_percent.map(|percent| u64::from(percent) * PERCENT))),
        ("Mounts", json!(mounts(run, container))),
        ("PortBindings", json!(bindings)),
        ("NetworkMode", json!(container.network)),
        ("ExtraHosts", json!(hosts)),
        ("DeviceRequests", json!(gpus(engine, &run.gpus).into_iter().collect::<Vec<_>>())),
        ("IpcMode", json!(container.ipc_host.then_some("host"))),
        ("ShmSize", json!(container.shm_size.map(|size| size.0))),
        ("ReadonlyRootfs", json!(container.read_only.then_some(true))),
        // Without a count the engine never gives up; its pauses double from 100 ms to a minute.
        ("RestartPolicy", json!({"Name": "on-failure"})),
    ]);
    object([
        ("Image", json!(container.image)),
        ("Entrypoint", json!(entrypoint)),
        ("Cmd", json!(command)),
        ("Env", json!(environment)),
        ("WorkingDir", json!(run.working_directory.as_ref().map(|path| path.display().to_string()))),
        ("User", json!(container.user)),
        ("Labels", json!(labels)),
        ("ExposedPorts", Value::Object(exposed)),
        ("StopTimeout", json!(run.stop_timeout.whole())),
        ("HostConfig", host),
    ])
}

/// Returns an object without the keys whose values say nothing.
fn object<const COUNT: usize>(fields: [(&str, Value); COUNT]) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let fields = fields.into_iter().filter(|(_, value)| !says_nothing(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn command(run: &Run, container: &Container, image: &ImageCommand) -> (Option<Vec<String>>, Vec<String>) {
    let Some(file) = &run.environment_file else { return (container.entrypoint.clone(), run.command.argv()) };
    let own = container.entrypoint.is_none() && run.command.0.is_empty();
    let words = if own { image.words.clone() } else { run.command.argv() };
    let program = container.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone());
    // It reads the file into its environment, and then becomes the program.
    let script = format!("set -a; . '{}' || exit 1; set +a; exec \"$@\"", secrets(file));
    let shell = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
    (Some(shell.into_iter().chain(program).collect()), words)
}

fn secrets(file: &RunFile) -> String {
    Path::new(SECRETS).join(file.0.file_name().unwrap_or_default()).display().to_string()
}

fn mounts(run: &Run, container: &Container) -> Vec<Value> {
    let body = |kind: &str, source: &str, target: &str, read_only: bool| json!({"Type": kind, "Source": source, "Target": target, "ReadOnly": read_only});
    let declared = container.mounts.iter().map(|mount| {
        let (kind, source) = match &mount.source {
            MountSource::Path(path) => ("bind", path.display().to_string()),
            MountSource::Volume(name) => ("volume", name.clone()),
        };
        body(kind, &source, &mount.target.display().to_string(), mount.read_only)
    });
    let file =
        run.environment_file.iter().map(|file| body("bind", &file.0.display().to_string(), &secrets(file), true));
    declared.chain(file).collect()
}

/// Returns the request for GPUs. Podman takes only CDI names, and ignores the others silently.
fn gpus(engine: Engine, gpus: &Gpus) -> Option<Value> {
    let devices = match gpus {
        Gpus::None | Gpus::Unspecified => return None,
        Gpus::All => None,
        Gpus::Devices(devices) => Some(devices),
    };
    Some(match (engine, devices) {
        // The engine takes a count or names, and not both.
        (Engine::Docker, None) => json!({"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}),
        (Engine::Docker, Some(devices)) => json!({"Driver": "", "DeviceIDs": devices, "Capabilities": [["gpu"]]}),
        (Engine::Podman, None) => json!({"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}),
        (Engine::Podman, Some(devices)) => {
            let names: Vec<String> = devices.iter().map(|name| format!("nvidia.com/gpu={name}")).collect();
            json!({"Driver": "cdi", "DeviceIDs": names})
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Engine, ImageCommand, NewContainer, gpus, needs_image_command, request};
    use crate::resource::{Bytes, Command, Container, Gpus, Limits, Restart, Run, RunFile, Runtime, Seconds};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn server() -> Run {
        Run {
            environment: [("A".to_owned(), "b c".to_owned())].into(),
            environment_file: Some(RunFile("/home/me/x/chat.env".into())),
            working_directory: Some("/srv".into()),
            restart: Restart::OnFailure,
            limits: Limits { memory: Some(Bytes(16 << 20)), cpu_percent: Some(150) },
            stop_timeout: Seconds { milliseconds: 1500 },
            ..Run::plain(Runtime::Docker, Command::words(["/bin/serve", "--x"]))
        }
    }

    fn asked(run: &Run, container: &Value) -> Value {
        let container: Container = serde_json::from_value(container.clone()).expect("a container");
        let labels = BTreeMap::from([("llamero.stack".to_owned(), "forged".to_owned())]);
        let new = NewContainer { name: "x", run, container: &container, labels: &labels };
        let image = ImageCommand { entrypoint: vec!["/entry".to_owned()], words: vec!["word".to_owned()] };
        request(Engine::Docker, "home", &new, &image)
    }

    #[test]
    fn a_whole_request() {
        let container = json!({
            "image": "redis:7",
            "publish": [{"host": 1, "container": 80}, {"address": "::", "host": 2, "container": 80}],
            "extra_hosts": {"host.docker.internal": "host-gateway"},
            "mounts": [{"source": {"volume": "cache"}, "target": "/cache"}],
            "network": "llamero-home",
            "ipc_host": true,
            "shm_size": 1024,
            "user": "1000",
            "read_only": true,
        });
        let asked = asked(&server(), &container);
        let script = "set -a; . '/run/secrets/chat.env' || exit 1; set +a; exec \"$@\"";
        assert_eq!(
            asked,
            json!({
                "Image": "redis:7",
                "Entrypoint": ["/bin/sh", "-c", script, "sh", "/entry"],
                "Cmd": ["/bin/serve", "--x"],
                "Env": ["A=b c"],
                "WorkingDir": "/srv",
                "User": "1000",
                "Labels": {"llamero.stack": "home"},
                "ExposedPorts": {"80/tcp": {}},
                "StopTimeout": 2,
                "HostConfig": {
                    "Memory": 16 << 20,
                    "MemorySwap": 16 << 20,
                    "NanoCpus": 1_500_000_000,
                    "Mounts": [
                        {"Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": false},
                        {
                            "Type": "bind", "Source": "/home/me/x/chat.env",
                            "Target": "/run/secrets/chat.env", "ReadOnly": true,
                        },
                    ],
                    "PortBindings": {
                        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}, {"HostIp": "::", "HostPort": "2"}],
                    },
                    "NetworkMode": "llamero-home",
                    "ExtraHosts": ["host.docker.internal:host-gateway"],
                    "IpcMode": "host",
                    "ShmSize": 1024,
                    "ReadonlyRootfs": true,
                    "RestartPolicy": {"Name": "on-failure"},
                },
            })
        );
    }

    #[test]
    fn only_what_reads_secrets_needs_the_command_of_its_image() {
        let secret = server();
        assert!(needs_image_command(&secret));
        assert!(!needs_image_command(&Run { environment_file: None, ..secret }));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let mut run = server();
        (run.environment_file, run.working_directory, run.limits) = (None, None, Limits::default());
        (run.command, run.environment) = (Command::default(), BTreeMap::new());
        let asked = asked(&run, &json!({"image": "redis:7"}));
        assert_eq!(
            asked,
            json!({
                "Image": "redis:7", "Labels": {"llamero.stack": "home"}, "StopTimeout": 2,
                "HostConfig": {"RestartPolicy": {"Name": "on-failure"}},
            })
        );
    }

    #[test]
    fn the_images_own_command_reads_secrets_first() {
        let mut run = server();
        run.command = Command::default();
        let asked = asked(&run, &json!({"image": "redis:7"}));
        let script = "set -a; . '/run/secrets/chat.env' || exit 1; set +a; exec \"$@\"";
        assert_eq!(asked["Entrypoint"], json!(["/bin/sh", "-c", script, "sh", "/entry"]));
        assert_eq!(asked["Cmd"], json!(["word"]));
    }

    #[test]
    fn each_engine_is_asked_for_gpus_in_its_own_way() {
        let some = || Gpus::Devices(vec!["0".into(), "GPU-1".into()]);
        let gpu = json!([["gpu"]]);
        let all = json!({"Driver": "", "Count": -1, "Capabilities": gpu});
        assert_eq!(gpus(Engine::Docker, &Gpus::All), Some(all));
        let named = json!({"Driver": "", "DeviceIDs": ["0", "GPU-1"], "Capabilities": gpu});
        assert_eq!(gpus(Engine::Docker, &some()), Some(named));
        let named = json!({"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1"]});
        assert_eq!(gpus(Engine::Podman, &some()), Some(named));
        let all = json!({"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]});
        assert_eq!(gpus(Engine::Podman, &Gpus::All), Some(all));
        assert_eq!(gpus(Engine::Podman, &Gpus::None), None);
    }
}
