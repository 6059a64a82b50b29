//! The request that makes a container, from plain data.

use super::{Engine, Error, STACK_LABEL, Stack, checked};
use crate::resource::{Container, Gpus, Mount, MountSource, Run, RunFile};
use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, Mount as MountBody, MountType, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptions;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Where a container sees the file with its secrets.
const SECRETS: &str = "/run/secrets";
/// How often the engine starts a container again that fails.
const RETRIES: i64 = 5;
/// A hundredth of a core, in the engine's billionths.
const PERCENT: i64 = 10_000_000;

/// A container to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewContainer<'a> {
    /// Its name.
    pub name: &'a str,
    /// What runs. An empty command is the image's own. A file with secrets is seen below `/run/secrets` under its own
    /// name, where none but its owner may read it, and a shell of the image's reads it into the environment: so the
    /// engine never learns what is in it, and does not show it to those who ask.
    pub run: &'a Run,
    /// What it has beyond that.
    pub container: &'a Container,
    /// Its labels, beside that of the stack. They are shown to everyone who may ask the engine.
    pub labels: &'a BTreeMap<String, String>,
}

/// A container that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What the engine could not do as asked, such as a limit that it cannot enforce.
    pub warnings: Vec<String>,
}

/// Makes a container; it does not run yet.
pub(super) async fn create(stack: Stack<'_>, new: &NewContainer<'_>) -> Result<Created, Error> {
    let docker = stack.docker;
    let what = format!("make the container `{}`", new.name);
    checked("container", new.name)?;
    let command = match &new.run.environment_file {
        None => (new.container.entrypoint.clone(), new.run.command.argv()),
        Some(file) => {
            let image = docker.image(&new.container.image).await?;
            let (program, words) = image.map(|image| image.command).unwrap_or_default();
            let own = new.container.entrypoint.is_none() && new.run.command.0.is_empty();
            let words = if own { words } else { new.run.command.argv() };
            (Some(with_secrets(file, new.container.entrypoint.clone().unwrap_or(program))), words)
        }
    };
    let options = CreateContainerOptions { name: Some(new.name.to_owned()), ..CreateContainerOptions::default() };
    let call = docker.api.create_container(Some(options), body(docker.engine, stack.name, new, command));
    let made = docker.within(&what, docker.deadlines.change, call).await?;
    Ok(Created { id: made.id, warnings: made.warnings })
}

/// Returns the program that reads a file of secrets into its environment and then becomes another.
fn with_secrets(file: &RunFile, program: Vec<String>) -> Vec<String> {
    let place = Path::new(SECRETS).join(file.0.file_name().unwrap_or_default());
    let script = format!("set -a; . '{}' || exit 1; set +a; exec \"$@\"", place.display());
    ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).into_iter().chain(program).collect()
}

fn body(
    engine: Engine,
    stack: &str,
    new: &NewContainer<'_>,
    (entrypoint, command): (Option<Vec<String>>, Vec<String>),
) -> ContainerCreateBody {
    let NewContainer { name: _, run, container, labels } = new;
    let environment = run.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let mut labels: HashMap<String, String> = labels.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
    labels.insert(STACK_LABEL.to_owned(), stack.to_owned());
    let ports = || container.publish.iter().map(|port| (format!("{}/{}", port.container, port.protocol), port));
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for (inner, port) in ports() {
        let binding = PortBinding { host_ip: Some(port.address.to_string()), host_port: Some(port.host.to_string()) };
        bindings.entry(inner).or_default().get_or_insert_default().push(binding);
    }
    let memory = run.limits.memory.map(|memory| i64::try_from(memory.0).unwrap_or(i64::MAX));
    let secrets = run.environment_file.iter().map(|file| Mount {
        source: MountSource::Path(file.0.clone()),
        target: Path::new(SECRETS).join(file.0.file_name().unwrap_or_default()),
        read_only: true,
    });
    let mounts = container.mounts.iter().cloned().chain(secrets).map(mount).collect();
    let hosts: Vec<String> = container.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    ContainerCreateBody {
        image: Some(container.image.clone()),
        cmd: some(command),
        entrypoint,
        env: some(environment.collect()),
        working_dir: run.working_directory.as_ref().map(|path| path.display().to_string()),
        user: container.user.clone(),
        labels: Some(labels),
        exposed_ports: some(ports().map(|(inner, _)| inner).collect()),
        stop_timeout: Some(i64::try_from(run.stop_timeout.whole()).unwrap_or(i64::MAX)),
        host_config: Some(HostConfig {
            memory,
            // Otherwise the engine allows as much again in swap.
            memory_swap: memory,
            nano_cpus: run.limits.cpu_percent.map(|percent| i64::from(percent) * PERCENT),
            mounts: some(mounts),
            port_bindings: Some(bindings).filter(|bindings| !bindings.is_empty()),
            network_mode: container.network.clone(),
            extra_hosts: some(hosts),
            device_requests: some(gpus(engine, &run.gpus).into_iter().collect()),
            ipc_mode: container.ipc_host.then(|| "host".to_owned()),
            shm_size: container.shm_size.map(|size| i64::try_from(size.0).unwrap_or(i64::MAX)),
            readonly_rootfs: container.read_only.then_some(true),
            // A few times, so that bad luck mends itself; for ever would be a second will beside that of the manifest.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ON_FAILURE),
                maximum_retry_count: Some(RETRIES),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn mount(mount: Mount) -> MountBody {
    let (typ, source) = match mount.source {
        MountSource::Path(path) => (MountType::BIND, path.display().to_string()),
        MountSource::Volume(name) => (MountType::VOLUME, name),
    };
    MountBody {
        typ: Some(typ),
        source: Some(source),
        target: Some(mount.target.display().to_string()),
        read_only: Some(mount.read_only),
        ..MountBody::default()
    }
}

/// Returns how to ask for GPUs. Podman heeds none but CDI names, and silently so.
fn gpus(engine: Engine, gpus: &Gpus) -> Option<DeviceRequest> {
    let devices = match gpus {
        Gpus::None | Gpus::Unspecified => return None,
        Gpus::All => None,
        Gpus::Devices(devices) => Some(devices.clone()),
    };
    Some(match engine {
        Engine::Docker => DeviceRequest {
            driver: Some(String::new()),
            // The engine takes a count or names, and not both.
            count: devices.is_none().then_some(-1),
            device_ids: devices,
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            options: None,
        },
        Engine::Podman => {
            let names = devices.unwrap_or_else(|| vec!["all".to_owned()]);
            let names = names.iter().map(|name| format!("nvidia.com/gpu={name}")).collect();
            DeviceRequest { driver: Some("cdi".to_owned()), device_ids: Some(names), ..DeviceRequest::default() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Engine, NewContainer, body, gpus};
    use crate::resource::{Bytes, Command, Container, Gpus, Limits, Probe, Restart, Run, RunFile, Runtime, Seconds};
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn plain_data_becomes_the_engines_words() {
        let run = Run {
            runtime: Runtime::Process,
            description: String::new(),
            command: Command::words(["/bin/serve", "--x"]),
            environment: [("A".to_owned(), "b c".to_owned())].into(),
            environment_file: Some(RunFile("/home/me/x/chat.env".into())),
            working_directory: Some("/srv".into()),
            restart: Restart::OnFailure,
            container: None,
            gpus: Gpus::None,
            engine: None,
            gpu_claim: None,
            sleep: None,
            gateway: None,
            socket_handoff: false,
            inputs: vec![],
            limits: Limits { memory: Some(Bytes(16 << 20)), cpu_percent: Some(150) },
            ports: vec![],
            memory: None,
            probe: Probe::Running,
            timeout: Seconds::new(1),
            stable_for: Seconds::new(1),
            stop_timeout: Seconds { milliseconds: 1500 },
        };
        let container: Container = serde_json::from_value(json!({
            "image": "redis:7",
            "publish": [{"host": 1, "container": 80}, {"address": "::", "host": 2, "container": 80}],
            "extra_hosts": {"host.docker.internal": "host-gateway"},
            "mounts": [{"source": {"volume": "cache"}, "target": "/cache"}],
        }))
        .expect("a container");
        let labels = BTreeMap::from([("llamero.stack".to_owned(), "forged".to_owned())]);
        let new = NewContainer { name: "x", run: &run, container: &container, labels: &labels };
        let command = (None, run.command.argv());
        let said = serde_json::to_value(body(Engine::Docker, "home", &new, command)).expect("text");
        let host = &said["HostConfig"];
        assert_eq!((&said["Cmd"], &said["Env"]), (&json!(["/bin/serve", "--x"]), &json!(["A=b c"])));
        assert_eq!((&said["StopTimeout"], &said["Labels"]), (&json!(2), &json!({"llamero.stack": "home"})));
        assert_eq!(said["ExposedPorts"], json!({"80/tcp": {}}));
        let bindings = json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}, {"HostIp": "::", "HostPort": "2"}]});
        assert_eq!(host["PortBindings"], bindings);
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(16 << 20), &json!(16 << 20)));
        assert_eq!((&host["NanoCpus"], &host["RestartPolicy"]["Name"]), (&json!(1_500_000_000), &json!("on-failure")));
        assert_eq!(host["ExtraHosts"], json!(["host.docker.internal:host-gateway"]));
        let mounts = json!([
            {"Target": "/cache", "Source": "cache", "Type": "volume", "ReadOnly": false},
            {"Target": "/run/secrets/chat.env", "Source": "/home/me/x/chat.env", "Type": "bind", "ReadOnly": true},
        ]);
        assert_eq!(host["Mounts"], mounts);
        assert_eq!(host.get("DeviceRequests"), None);
    }

    #[test]
    fn each_engine_is_asked_for_gpus_in_its_own_way() {
        let ask = |engine, declared| serde_json::to_value(gpus(engine, &declared)).expect("text");
        let some = || Gpus::Devices(vec!["0".into(), "GPU-1".into()]);
        let gpu = json!([["gpu"]]);
        assert_eq!(ask(Engine::Docker, Gpus::All), json!({"Driver": "", "Count": -1, "Capabilities": gpu}));
        let named = json!({"Driver": "", "DeviceIDs": ["0", "GPU-1"], "Capabilities": gpu});
        assert_eq!(ask(Engine::Docker, some()), named);
        let named = json!({"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1"]});
        assert_eq!(ask(Engine::Podman, some()), named);
        assert_eq!(ask(Engine::Podman, Gpus::All)["DeviceIDs"], json!(["nvidia.com/gpu=all"]));
        assert_eq!(ask(Engine::Podman, Gpus::None), json!(null));
    }
}
