//! A server that hands its port on, with real units on the real user manager, step by step.

use super::home::Home;
use super::load::{Answer, Recovered, ask, ask_on};
use crate::sample;
use llamero::render::launcher::GATEWAY_LAUNCHER;
use llamero::resource::{Bytes, Command, Kind, Limits, Origins, Resource, ResourceId, Run, Runtime, Seconds, Spec};
use llamero::systems::files;
use llamero::systems::systemd::{ActiveState, JobResult, Systemd, Unit, Weight, boot};
use llamero::targets::unit;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::BufStream;
use tokio::net::UnixStream;

pub(super) const LONG: Duration = Duration::from_secs(180);

pub(super) struct Instances {
    pub(super) home: Home,
    pub(super) systemd: Systemd,
    pub(super) port: u16,
    resource: Resource,
    units: PathBuf,
    runtime: PathBuf,
}

impl Instances {
    pub(super) async fn new(name: &str, port: u16, app: &[&str]) -> Self {
        let home = Home::new();
        let systemd = Systemd::connect().await.expect("a systemd user manager");
        let launcher = home.write("launcher.py", GATEWAY_LAUNCHER);
        let mut argv = vec![home.part("litellm/bin/python"), launcher.display().to_string()];
        argv.extend(app.iter().map(|word| (*word).to_owned()));
        let resource = server(name, argv, port);
        let units = home.under_home(".config/systemd/user");
        let runtime = systemd.runtime_folder().await.expect("a folder");
        files::create_folder(&runtime).expect("a folder");
        Self { home, systemd, port, resource, units, runtime }
    }

    /// Makes the socket listen. It refuses to while the service of its name, the link, is missing.
    async fn listen(&self) {
        let socket = self.socket();
        let text = unit::socket("swap", &self.resource.id, self.port);
        files::write(&self.units.join(&socket), text.as_bytes(), files::PRIVATE).expect("written");
        boot::enable(&self.units, &socket).expect("enabled");
        self.reload().await;
        assert_eq!(self.systemd.start(&socket, LONG).await.expect("a job").result, JobResult::Done);
    }

    /// Returns the server, to be changed for the instances to come.
    pub(super) fn run(&mut self) -> &mut Run {
        let Spec::Run(run) = &mut self.resource.spec else { unreachable!("a server") };
        run
    }

    pub(super) fn socket(&self) -> String {
        unit::socket_name(&self.resource.id)
    }

    pub(super) fn instance(&self, number: u64) -> String {
        unit::instance_name(&self.resource.id, number)
    }

    pub(super) fn file(&self, number: u64) -> PathBuf {
        self.units.join(self.instance(number))
    }

    async fn reload(&self) {
        self.systemd.reload().await.expect("a reload");
    }

    fn alias(&self) -> PathBuf {
        self.units.join(unit::unit_name(&self.resource.id))
    }

    /// Starts an instance that is held back; with the first one, the socket listens.
    pub(super) async fn start(&self, number: u64) -> JobResult {
        self.start_with(number, Weight::Normal).await
    }

    /// Starts an instance that is held back, with a weight of its own.
    pub(super) async fn start_with(&self, number: u64, weight: Weight) -> JobResult {
        let text = unit::instance("swap", &self.resource, number).expect("expressible");
        files::write(&self.file(number), text.as_bytes(), files::PRIVATE).expect("written");
        files::write(&self.hold(number), b"", files::PRIVATE).expect("written");
        if files::link_target(&self.alias()).expect("read").is_none() {
            files::link(&self.alias(), self.instance(number).as_ref()).expect("linked");
            self.listen().await;
        }
        self.reload().await;
        self.systemd.weigh(&self.instance(number), weight).await.expect("weighed");
        self.systemd.start(&self.instance(number), LONG).await.expect("a job").result
    }

    fn hold(&self, number: u64) -> PathBuf {
        self.runtime.join(unit::gate_name(&self.resource.id, number))
    }

    pub(super) async fn unit(&self, number: u64) -> Unit {
        self.systemd.unit(&self.instance(number)).await.expect("a unit")
    }

    pub(super) async fn reports(&self, number: u64, word: &str) -> Unit {
        let unit = self.systemd.until_it_reports(&self.instance(number), word, LONG).await.expect("an answer");
        assert!(unit.status_text.starts_with(word), "{unit:#?}");
        unit
    }

    /// Lets clients reach an instance, and makes it the one that starts with the machine.
    pub(super) async fn release(&self, number: u64) {
        assert!(files::remove(&self.hold(number)).expect("removed"));
        self.reports(number, "accepting").await;
        files::link(&self.alias(), self.instance(number).as_ref()).expect("linked");
        self.reload().await;
    }

    /// Stops an instance; returns when it takes no more connections.
    pub(super) async fn retire(&self, number: u64) {
        self.systemd.begin_stop(&self.instance(number)).await.expect("a call");
        self.reports(number, "draining").await;
    }

    /// Waits until an instance has ended by itself. The manager soon forgets how, unless it failed.
    pub(super) async fn ended(&self, number: u64) -> Unit {
        // A word that no instance says: the wait ends with the run.
        let unit = self.systemd.until_it_reports(&self.instance(number), "gone", LONG).await.expect("an end");
        assert_eq!((&unit.active_state, unit.result.as_str()), (&ActiveState::Inactive, "success"), "{unit:#?}");
        unit
    }

    /// Asks an instance on the socket that only we know.
    pub(super) async fn ask_private(&self, number: u64, request: &str) -> Answer {
        let path = self.runtime.join(unit::private_name(&self.resource.id, number));
        let mut stream = BufStream::new(UnixStream::connect(path).await.expect("connected"));
        ask(&mut stream, request).await.expect("an answer")
    }

    /// Asks whoever has the port, on a new connection.
    pub(super) async fn ask(&self, request: &str) -> Result<Answer, Recovered> {
        ask_on(&mut None, self.port, request, false).await
    }

    /// Stops all and removes every file.
    pub(super) async fn down(&self, numbers: &[u64]) {
        let socket = self.socket();
        // The socket first: a client that still waits would start the current instance again.
        self.systemd.stop(&socket, LONG).await.expect("a job");
        for number in numbers {
            self.systemd.stop(&self.instance(*number), LONG).await.expect("a job");
            files::remove(&self.hold(*number)).expect("removed");
            files::remove(&self.file(*number)).expect("removed");
        }
        boot::disable(&self.units, &socket).expect("disabled");
        files::remove(&self.alias()).expect("removed");
        files::remove(&self.units.join(&socket)).expect("removed");
        self.reload().await;
        let left = files::names(&self.runtime).expect("listed");
        let managed = left.iter().filter(|name| name.starts_with(&self.resource.id.name)).count();
        assert_eq!(managed, 0, "{left:?}");
    }
}

/// Returns a server of the user manager on a loopback port.
pub(super) fn server(name: &str, argv: Vec<String>, port: u16) -> Resource {
    Resource {
        id: ResourceId::new(Kind::Unit, name),
        role: "gateway".to_owned(),
        spec: Spec::Run(Box::new(Run {
            description: name.to_owned(),
            command: Command::words(argv),
            limits: Limits { memory: Some(Bytes(2 << 30)), cpu_percent: None },
            ports: vec![port],
            timeout: Seconds::new(170),
            stop_timeout: Seconds::new(30),
            ..sample::run(Runtime::Systemd, &[])
        })),
        needs: [].into(),
        origins: Origins::default(),
    }
}
