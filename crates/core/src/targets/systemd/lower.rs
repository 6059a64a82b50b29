//! The unit file of a server that the systemd user manager runs.
//!
//! The whole file is ours: its first line is the marker. What systemd does beyond running the command (ordering across
//! the stack, waiting for health) is left to llamero; systemd only gets the order of a boot.
//!
//! A server that hands its port on has numbered instances beside one socket unit. Which of them clients reach, and
//! which starts with the machine, is given by links, which are not made here.

use crate::render::launcher::DRAIN_VARIABLE;
use crate::render::marker::{self, FINGERPRINT_VARIABLE, RESOURCE_VARIABLE};
use crate::render::quote::{self, Unrepresentable};
use crate::resource::{Fields, Fingerprint, Kind, Resource, ResourceId, Restart, Run, Runtime, Seconds};
use std::fmt::{Display, Write};

/// The time for an instance to end after its last connection, before it is killed.
const AFTER_DRAIN: Seconds = Seconds::new(60);

/// The pause before a server that failed is started again. It does not grow: a manager before systemd 254 knows no
/// `RestartSteps`, and writes a warning of every unit that has some to the journal whenever it is reloaded.
const PAUSE: Seconds = Seconds::new(2);

/// Returns the name under which the manager knows a unit resource.
#[must_use]
pub fn unit_name(id: &ResourceId) -> String {
    format!("{}.service", id.name)
}

/// Returns the target of the manager that starts a unit with the manager.
#[must_use]
pub fn wanted_by(unit: &str) -> &'static str {
    if unit.ends_with(".socket") { "sockets.target" } else { "default.target" }
}

/// Returns the whole unit file of a server that the systemd user manager runs.
pub fn unit(stack: &str, resource: &Resource) -> Result<String, Unrepresentable> {
    whole(stack, resource, None)
}

/// Returns the name under which the manager knows instance `number` of a server that hands its port on.
#[must_use]
pub fn instance_name(id: &ResourceId, number: u64) -> String {
    format!("{}-{number}.service", id.name)
}

/// Returns the name of the socket on which an instance starts, in llamero's folder for what lives until the next boot.
#[must_use]
pub fn private_name(id: &ResourceId, number: u64) -> String {
    format!("{}-{number}.sock", id.name)
}

/// Returns the name of the file that holds an instance back from clients, in the same folder.
#[must_use]
pub fn gate_name(id: &ResourceId, number: u64) -> String {
    format!("{}-{number}.gate", id.name)
}

/// Returns the whole unit file of instance `number` of a server that hands its port on.
///
/// The number is no part of the fingerprint: it says which run it is, and nothing of what is run. The command is the
/// launcher's, to which the paths of this instance are added.
pub fn instance(stack: &str, resource: &Resource, number: u64) -> Result<String, Unrepresentable> {
    whole(stack, resource, Some(number))
}

/// Returns the name of the socket unit of a server that hands its port on.
#[must_use]
pub fn socket_name(id: &ResourceId) -> String {
    format!("{}.socket", id.name)
}

/// Returns the whole unit file of the socket that listens on the loopback port of a server, for all its instances.
///
/// It names no service, so that traffic starts the one that has the socket's own name: the link to the current
/// instance.
#[must_use]
pub fn socket(stack: &str, id: &ResourceId, port: u16) -> String {
    let fingerprint = Fingerprint::of(&Fields::from([("port".to_owned(), port.to_string().into())]));
    let description = quote::prose(&format!("port {port} of {} (llamero, stack {stack})", id.name));
    // An instance that dies at once would use up the trigger limit, and fail the socket with it.
    let body = format!(
        "[Unit]\nDescription={description}\n\n[Socket]\nListenStream=127.0.0.1:{port}\nBacklog=4096\n\
         TriggerLimitIntervalSec=0\n\n[Install]\nWantedBy={}\n",
        wanted_by(&socket_name(id))
    );
    marker::mark(stack, id, &fingerprint, &body)
}

fn whole(stack: &str, resource: &Resource, instance: Option<u64>) -> Result<String, Unrepresentable> {
    let run = resource
        .run()
        .filter(|run| run.runtime == Runtime::Systemd)
        .ok_or_else(|| Unrepresentable::NotAUnit { resource: resource.id.clone() })?;
    let fingerprint = resource.fingerprint();
    let mut own =
        vec![(FINGERPRINT_VARIABLE, fingerprint.to_string()), (RESOURCE_VARIABLE, format!("{stack}/{}", resource.id))];
    if instance.is_some() {
        own.push((DRAIN_VARIABLE, run.stop_timeout.whole().to_string()));
    }
    let body = body(resource, run, &own, instance)?;
    Ok(marker::mark(stack, &resource.id, &fingerprint, &body))
}

fn body(
    resource: &Resource,
    run: &Run,
    own: &[(&str, String)],
    instance: Option<u64>,
) -> Result<String, Unrepresentable> {
    let unit = unit_section(resource, run).0;
    let mut service = Section::default();
    add_start(&mut service, resource, run, instance)?;
    add_environment(&mut service, run, own)?;
    add_end(&mut service, run, instance.is_some());
    let service = service.0;
    // To enable an instance would start it beside the current one at the next boot.
    let install = match instance {
        Some(_) => String::new(),
        None => format!("\n[Install]\nWantedBy={}\n", wanted_by(&unit_name(&resource.id))),
    };
    Ok(format!("[Unit]\n{unit}\n[Service]\n{service}{install}"))
}

/// The lines of a section.
#[derive(Default)]
struct Section(String);

impl Section {
    fn add(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key}={value}").expect("a string takes every write");
    }
}

fn unit_section(resource: &Resource, run: &Run) -> Section {
    let mut section = Section::default();
    section.add("Description", quote::prose(&run.description));
    let after: Vec<String> = resource.needs.iter().filter(|id| id.kind == Kind::Unit).map(unit_name).collect();
    if !after.is_empty() {
        section.add("After", after.join(" "));
    }
    // What is declared is never given up: what it lacks now may be there later. And an instance that reached a limit would
    // fail the socket that it inherits from, and with it the healthy instance.
    section.add("StartLimitIntervalSec", 0);
    section
}

/// Adds what is started, and when it counts as started.
fn add_start(
    section: &mut Section,
    resource: &Resource,
    run: &Run,
    instance: Option<u64>,
) -> Result<(), Unrepresentable> {
    let command = quote::command(&run.command.argv())?;
    let Some(number) = instance else {
        // `simple` reports success before the program is even found.
        section.add("Type", "exec");
        section.add("ExecStart", command);
        return Ok(());
    };
    section.add("Type", "notify");
    section.add("Sockets", socket_name(&resource.id));
    let private = quote::runtime_path(&private_name(&resource.id, number))?;
    let hold = quote::runtime_path(&gate_name(&resource.id, number))?;
    section.add("ExecStart", format_args!("{command} --private {private} --generation {number} --gate {hold}"));
    // The manager cannot see its progress, as the wait for its health can: it only ends what never comes up.
    section.add("TimeoutStartSec", format_args!("{}ms", run.longest_start().milliseconds.max(1)));
    Ok(())
}

fn add_environment(section: &mut Section, run: &Run, own: &[(&str, String)]) -> Result<(), Unrepresentable> {
    for (name, value) in &run.environment {
        section.add("Environment", quote::assignment(name, value)?);
    }
    // The last of two assignments wins, so that no variable of the manifest can hide ours.
    for (name, value) in own {
        section.add("Environment", quote::assignment(name, value)?);
    }
    if let Some(file) = &run.environment_file {
        section.add("EnvironmentFile", quote::path("the environment file", &file.0.to_string_lossy())?);
    }
    if let Some(folder) = &run.working_directory {
        section.add("WorkingDirectory", quote::path("the working directory", &folder.to_string_lossy())?);
    }
    Ok(())
}

/// Adds how the server ends, whether it starts again by itself, and its limits.
fn add_end(section: &mut Section, run: &Run, is_instance: bool) {
    let restart = match run.restart {
        Restart::OnFailure => "on-failure",
        Restart::Always => "always",
    };
    section.add("Restart", restart);
    section.add("RestartSec", PAUSE.whole());
    let drain = if is_instance { AFTER_DRAIN.milliseconds } else { 0 };
    // Zero would mean that the manager waits for ever.
    let stop_timeout = run.stop_timeout.milliseconds.saturating_add(drain).max(1);
    section.add("TimeoutStopSec", format_args!("{stop_timeout}ms"));
    section.add("KillMode", "mixed");
    section.add("UMask", "0077");
    if let Some(memory) = run.limits.memory {
        section.add("MemoryMax", memory.0);
    }
    if let Some(percent) = run.limits.cpu_percent {
        section.add("CPUQuota", format_args!("{percent}%"));
    }
}

#[cfg(test)]
mod tests {
    use super::{instance, instance_name, socket, unit};
    use crate::render::marker;
    use crate::render::quote::Unrepresentable;
    use crate::resource::{
        Bytes, Command, Kind, Limits, Origins, Resource, ResourceId, Restart, Run, RunFile, Runtime, Seconds, Spec,
    };

    fn resource(run: impl FnOnce(&mut Run)) -> Resource {
        let command = Command::words(["/opt/llama server", "--alias", "a \"b\" $HOME %h;"]);
        let mut server = Run {
            description: "qwen3 at 100% on llama.cpp".to_owned(),
            environment: [("A".to_owned(), "1 2".to_owned())].into(),
            environment_file: Some(RunFile("/home/ai/secret.env".into())),
            working_directory: Some("/home/ai/100%".into()),
            limits: Limits { memory: Some(Bytes(512 << 20)), cpu_percent: Some(150) },
            ports: vec![8000],
            timeout: Seconds::new(120),
            stop_timeout: Seconds::new(20),
            restart: Restart::OnFailure,
            ..Run::plain(Runtime::Systemd, command)
        };
        run(&mut server);
        Resource {
            id: ResourceId::new(Kind::Unit, "home-qwen3"),
            role: "models.qwen3".to_owned(),
            spec: Spec::Run(Box::new(server)),
            needs: [ResourceId::new(Kind::Unit, "home-cache"), ResourceId::new(Kind::Artifact, "qwen3")].into(),
            origins: Origins::default(),
        }
    }

    #[test]
    fn a_whole_unit() {
        let text = unit("home", &resource(|_| {})).expect("expressible");
        let mark = marker::read(&text).expect("a marker");
        assert!(mark.intact && mark.stack == "home");
        let body = text.split_once('\n').expect("a body").1.replace(&mark.fingerprint.to_string(), "FINGERPRINT");
        insta::assert_snapshot!(body, @r#"
        [Unit]
        Description=qwen3 at 100%% on llama.cpp
        After=home-cache.service
        StartLimitIntervalSec=0

        [Service]
        Type=exec
        ExecStart=:"/opt/llama server" "--alias" "a \"b\" $HOME %%h;"
        Environment="A=1 2"
        Environment="LLAMERO_FINGERPRINT=FINGERPRINT"
        Environment="LLAMERO_RESOURCE=home/unit/home-qwen3"
        EnvironmentFile=/home/ai/secret.env
        WorkingDirectory=/home/ai/100%%
        Restart=on-failure
        RestartSec=2
        TimeoutStopSec=20000ms
        KillMode=mixed
        UMask=0077
        MemoryMax=536870912
        CPUQuota=150%

        [Install]
        WantedBy=default.target
        "#);
    }

    #[test]
    fn a_whole_instance_beside_its_socket() {
        let plain = resource(|run| {
            run.command = Command::words(["/opt/bin/python", "/opt/launcher.py"]);
            run.environment.clear();
            run.environment_file = None;
            run.working_directory = None;
            run.limits = Limits::default();
            run.stop_timeout = Seconds::new(600);
        });
        assert_eq!(instance_name(&plain.id, 7), "home-qwen3-7.service");
        let text = instance("home", &plain, 7).expect("expressible");
        let mark = marker::read(&text).expect("a marker");
        assert!(mark.intact && mark.resource == plain.id && mark.fingerprint == plain.fingerprint());
        let body = text.split_once('\n').expect("a body").1.replace(&mark.fingerprint.to_string(), "FINGERPRINT");
        insta::assert_snapshot!(body, @r#"
        [Unit]
        Description=qwen3 at 100%% on llama.cpp
        After=home-cache.service
        StartLimitIntervalSec=0

        [Service]
        Type=notify
        Sockets=home-qwen3.socket
        ExecStart=:"/opt/bin/python" "/opt/launcher.py" --private "%t/llamero/home-qwen3-7.sock" --generation 7 --gate "%t/llamero/home-qwen3-7.gate"
        TimeoutStartSec=1200000ms
        Environment="LLAMERO_FINGERPRINT=FINGERPRINT"
        Environment="LLAMERO_RESOURCE=home/unit/home-qwen3"
        Environment="LLAMERO_DRAIN_SECONDS=600"
        Restart=on-failure
        RestartSec=2
        TimeoutStopSec=660000ms
        KillMode=mixed
        UMask=0077
        "#);

        let text = socket("home", &plain.id, 4000);
        let mark = marker::read(&text).expect("a marker");
        assert!(mark.intact && mark.resource == plain.id);
        insta::assert_snapshot!(text.split_once('\n').expect("a body").1, @"
        [Unit]
        Description=port 4000 of home-qwen3 (llamero, stack home)

        [Socket]
        ListenStream=127.0.0.1:4000
        Backlog=4096
        TriggerLimitIntervalSec=0

        [Install]
        WantedBy=sockets.target
        ");
    }

    #[test]
    fn unset_options_are_left_out() {
        let plain = resource(|run| {
            run.environment.clear();
            run.environment_file = None;
            run.working_directory = None;
            run.limits = Limits::default();
        });
        let text = unit("home", &plain).expect("expressible");
        for key in ["EnvironmentFile", "WorkingDirectory", "MemoryMax", "CPUQuota"] {
            assert!(!text.contains(key), "{key}");
        }
    }

    #[test]
    fn a_server_without_a_clean_exit_is_always_restarted() {
        let text = unit("home", &resource(|run| run.restart = Restart::Always)).expect("expressible");
        assert!(text.contains("\nRestart=always\n"), "{text}");
        let fingerprint = |run: fn(&mut Run)| resource(run).fingerprint();
        assert_ne!(fingerprint(|run| run.restart = Restart::Always), fingerprint(|_| {}));
    }

    #[test]
    fn a_unit_that_cannot_be_written_is_an_error() {
        let bad = resource(|run| run.command = Command::words(["server"]));
        assert!(unit("home", &bad).is_err());
        let process = resource(|run| run.runtime = Runtime::Process);
        assert!(matches!(unit("home", &process), Err(Unrepresentable::NotAUnit { .. })));
    }
}
