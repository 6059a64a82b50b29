//! Servers as resources: their commands, environments, limits and the settings that these come from.

use super::build::Builder;
use super::server::{Server, is_isolated};
use crate::manifest::{HealthSettings, LimitSettings, Spanned, Time};
use crate::resource::{
    Command, EngineName, Gpus, Kind, Limits, Note, Origin, Origins, Resource, ResourceId, Restart, Run, RunFile,
    Runtime, Seconds, Spec,
};
use std::collections::BTreeMap;

/// The default time within which a server must be healthy.
const TIMEOUT: Seconds = Seconds::new(120);

/// The default time for which a server must stay healthy.
const STABLE_FOR: Seconds = Seconds::new(10);

/// The time for a server to stop.
const STOP_TIMEOUT: Seconds = Seconds::new(30);

impl Builder<'_> {
    /// Adds a server with everything that it needs; returns its name.
    pub(super) fn server(&mut self, server: &Server<'_>) -> Option<ResourceId> {
        let Server { path, span, common, .. } = server;
        let id = self.server_id(&server.part, *common)?;
        let runtime = runtime(id.kind);
        if common.adopt.value {
            self.unsupported("adopting what is there", path.key("adopt").as_str(), &common.adopt.span);
        }
        let mut needs = server.needs.clone();
        let mut inputs = server.inputs.clone();
        let mut image = None;
        let mut command = if runtime == Runtime::Docker {
            let (id, name) = self.image(server)?;
            needs.insert(id);
            image = Some(name);
            Command::default()
        } else {
            self.program(server, &mut needs, &mut inputs)?
        };
        arguments(server, &mut command);
        let environment = self.variables(server, runtime);
        let file = self.environment_file(server, &mut needs, &mut inputs);
        let limits = self.limits(server, runtime);
        let container = image.map(|image| Box::new(self.contained(server, &image, &inputs)));
        let run = Run {
            runtime,
            container,
            description: format!("{} (llamero, stack {})", server.description, self.manifest.stack.value),
            command,
            environment,
            environment_file: file.map(RunFile),
            working_directory: server.working_directory.clone(),
            inputs,
            memory: limits.memory,
            limits,
            gpus: server.gpus.clone(),
            engine: server.engine.map(EngineName::new),
            gpu_claim: None,
            sleep: None,
            gateway: None,
            socket_handoff: false,
            ports: server.ports.clone(),
            probe: server.probe.clone(),
            timeout: self.health(common.health, |health| health.timeout.as_ref()).unwrap_or(TIMEOUT),
            stable_for: self.health(common.health, |health| health.stable_for.as_ref()).unwrap_or(STABLE_FOR),
            stop_timeout: STOP_TIMEOUT,
            restart: Restart::default(),
        };
        let origins = origins(server, &run);
        let resource =
            Resource { id: id.clone(), role: server.role.clone(), spec: Spec::Run(Box::new(run)), needs, origins };
        self.add(resource, span);
        Some(id)
    }

    /// Returns the variables of a server, without the secret ones.
    fn variables(&mut self, server: &Server<'_>, runtime: Runtime) -> BTreeMap<String, String> {
        let Server { path, common, .. } = server;
        let mut variables = server.environment.clone();
        if let (Gpus::Devices(devices), false) = (&server.gpus, runtime == Runtime::Docker) {
            // CUDA's own order is that of speed; the driver's tools count along the bus.
            variables.insert("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned());
            variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), devices.join(","));
        }
        let isolated = is_isolated(*common, server.contained.network);
        for entry in common.env {
            match self.spelled_out(&entry.value.value, isolated) {
                Ok(value) => drop(variables.insert(entry.name.value.clone(), value)),
                Err(note) => self.note(note, path.key("env").key(&entry.name.value).as_str(), &entry.value.span),
            }
        }
        variables
    }

    /// Returns the limits of a server, and notes those that its runtime cannot enforce.
    fn limits(&mut self, server: &Server<'_>, runtime: Runtime) -> Limits {
        let Server { path, span, common, .. } = server;
        if common.limits != &LimitSettings::default() && runtime == Runtime::Process {
            let note = Note::warning("no-limits", "the runtime `process` cannot enforce limits");
            self.note(note.hint("`runtime: systemd` can"), path.key("limits").as_str(), span);
        }
        Limits {
            memory: common.limits.memory.as_ref().map(|memory| memory.value.0),
            cpu_percent: common.limits.cpus.as_ref().map(|cpus| cpus.value.0.percent()),
        }
    }

    fn health(
        &self,
        own: &HealthSettings,
        field: impl Fn(&HealthSettings) -> Option<&Spanned<Time>>,
    ) -> Option<Seconds> {
        field(own).or_else(|| field(&self.manifest.policy.health)).map(|time| time.value.0)
    }
}

/// Returns the runtime of a kind of server.
const fn runtime(kind: Kind) -> Runtime {
    match kind {
        Kind::Unit => Runtime::Systemd,
        Kind::Container => Runtime::Docker,
        _ => Runtime::Process,
    }
}

/// Adds the arguments of a server to its program: the engine's own, and those that the manifest adds.
fn arguments(server: &Server<'_>, command: &mut Command) {
    command.0.extend(server.arguments.0.iter().cloned());
    command.raw(&server.common.args.value.0, server.path.key("args"));
    if let Some((words, path)) = &server.last {
        command.raw(words, path.clone());
    }
}

/// Returns the settings that the fields of a server come from, without those of its command.
fn origins(server: &Server<'_>, run: &Run) -> Origins {
    let Server { path, common, .. } = server;
    let mut origins = server.origins.clone();
    for entry in common.env {
        let field = format!("environment {}", entry.name.value);
        // What the manifest sets takes the place of the engine's own.
        origins.0.remove(&field);
        origins.add(field, [Origin::new(path.key("env").key(&entry.name.value), &entry.value.value)]);
    }
    let limits = common.limits;
    let memory = limits.memory.as_ref().map(|memory| Origin::new(path.key("limits.memory"), memory.value.0.exact()));
    origins.add("limits.memory", memory);
    let cpus = limits.cpus.as_ref().map(|cpus| Origin::new(path.key("limits.cpus"), cpus.value.0));
    origins.add("limits.cpus", cpus);
    if let Gpus::Devices(devices) = &run.gpus {
        let fields: &[&str] = match run.container {
            Some(_) => &["gpus"],
            None => &["environment CUDA_DEVICE_ORDER", "environment CUDA_VISIBLE_DEVICES"],
        };
        let chosen = Origin::new(path.key("gpus"), devices.join(", "));
        for field in fields {
            origins.add(*field, [chosen.clone()]);
        }
    }
    if let Some(container) = &run.container {
        origins.extend(super::container::origins(server, container));
    }
    origins
}
