//! A container engine of its own, beside registries of its own: one that is open and one that asks for a password.

use crate::skipped;
use llamero::systems::docker::{Deadlines, Docker, DockerEnvironment};
use llamero::systems::program::find;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
const BUSYBOX: &str = "/bin/busybox";

/// What runs in namespaces of its own: their network has the registries and the published ports, their mounts the
/// containers' file systems, and with their first process ends everything. `held` takes the daemon away.
const INSIDE: &str = r#"
[ -n "${4:-}" ] || ip link set lo up
cd "$1"
docker-registry serve open.yml >open.log 2>&1 &
docker-registry serve closed.yml >closed.log 2>&1 &
while [ ! -e ended ]; do
  if [ -e held ]; then sleep 0.05; continue; fi
  rm -f pid docker.sock
  if [ -n "${3:-}" ]; then
    CONTAINERS_REGISTRIES_CONF=$1/registries.conf podman --root "$1/data" --runroot "$1/exec" --tmpdir "$1/tmp" \
      --storage-driver vfs --cgroup-manager cgroupfs system service --time 0 "unix://$1/docker.sock" >>docker.log 2>&1 & daemon=$!
  else dockerd --config-file daemon.json --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$1/docker.sock" \
    --cgroup-parent "/$2" --exec-opt native.cgroupdriver=cgroupfs >>docker.log 2>&1 & daemon=$!
  fi
  while [ ! -e held ] && [ ! -e ended ] && kill -0 $daemon 2>/dev/null; do sleep 0.05; done
  kill -KILL $daemon 2>/dev/null || true
  wait $daemon 2>/dev/null || true
done
"#;

/// `me` with the password `a?b>c~d`, which is read wrongly unless it is written right.
const PASSWORDS: &str = "me:$2y$05$abcdefghijklmnopqrstuurWmhMYHg5YmUql4VVJGOQIBZr2sWl5q\n";
pub(super) const LOGIN: &str = r#"{"auths": {"127.0.0.1:5001": {"username": "me", "password": "a?b>c~d"}}}"#;

/// A daemon and all that it has started; it ends with the test, also when that is killed.
pub(super) struct Private {
    folder: TempDir,
    group: String,
    outermost: Child,
    /// The open registry, as it stands in an image's name.
    pub(super) registry: String,
}

impl Private {
    /// Starts it, or says why that cannot be done here.
    pub(super) async fn start() -> Option<(Self, Docker)> {
        Self::start_engine("dockerd", "", true).await
    }

    /// Starts it on the machine's own network, which it leaves as it is: its containers are on that network too, or on
    /// none.
    pub(super) async fn start_on_the_host() -> Option<(Self, Docker)> {
        Self::start_engine("dockerd", "", false).await
    }

    /// Starts Podman in its place.
    pub(super) async fn start_podman() -> Option<(Self, Docker)> {
        Self::start_engine("podman", "podman", true).await
    }

    async fn start_engine(engine: &str, choice: &str, isolated: bool) -> Option<(Self, Docker)> {
        let programs = [engine, "docker", "docker-registry", "setpriv", "unshare", "ip", BUSYBOX];
        if let Some(missing) = programs.iter().find(|program| find(program).is_none()) {
            skipped(&format!("{missing} is not installed"));
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (open, closed) = if isolated { (5000, 5001) } else { (free_port(), free_port()) };
        for (name, port, auth) in
            [("open", open, ""), ("closed", closed, "\nauth: {htpasswd: {realm: closed, path: passwords}}")]
        {
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {name}}}}}\n\
                 http: {{addr: \"127.0.0.1:{port}\"}}{auth}\n"
            );
            std::fs::write(folder.path().join(format!("{name}.yml")), text).expect("written");
        }
        std::fs::write(folder.path().join("passwords"), PASSWORDS).expect("written");
        let config = if isolated { "{}" } else { r#"{"iptables": false, "ip-masq": false, "bridge": "none"}"# };
        std::fs::write(folder.path().join("daemon.json"), config).expect("written");
        let insecure = "[[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n";
        std::fs::write(folder.path().join("registries.conf"), insecure).expect("written");
        let group = format!("llamero-docker-{}", folder.path().file_name().expect("a name").display());
        let group = group.replace('.', "");
        let log = std::fs::File::create(folder.path().join("outermost.log")).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(isolated.then_some("--net"));
        command.args(["--mount-proc", "bash", "-c", INSIDE, "bash"]).arg(folder.path()).arg(&group).arg(choice);
        command.args((!isolated).then_some("host"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let registry = format!("127.0.0.1:{open}");
        let private = Self { outermost: command.spawn().expect("it starts"), folder, group, registry };
        let docker = private.connect().await;
        Some((private, docker))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn surroundings(&self) -> DockerEnvironment {
        DockerEnvironment {
            host: Some(format!("unix://{}", self.path("docker.sock").display())),
            configuration: Some(self.path("client")),
            ..DockerEnvironment::default()
        }
    }

    pub(super) async fn connect(&self) -> Docker {
        let begun = Instant::now();
        loop {
            match Docker::connect_from(&self.surroundings(), Deadlines::default()).await {
                Ok(docker) => return docker,
                Err(error) => {
                    let log = std::fs::read_to_string(self.path("docker.log")).unwrap_or_default();
                    assert!(begun.elapsed() < SOON, "{error:?}: dockerd never answered:\n{log}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Runs Docker's own client.
    pub(super) fn client(&self, words: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.path("docker.sock").display())).args(words);
        command.env("DOCKER_CONFIG", self.path("login")).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        let output = command.stdin(Stdio::null()).output().expect("docker runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Makes an image and gives it to the open registry.
    pub(super) fn publish(&self, name: &str, note: &str, changes: &[&str]) -> String {
        let whole = format!("{}/{name}", self.registry);
        self.image(&whole, note, changes);
        self.client(&["push", &whole]);
        self.client(&["rmi", &whole]);
        whole
    }

    /// Returns the words that run a program on the network that the engine is on.
    pub(super) fn on_its_network(&self) -> Vec<String> {
        let children = format!("/proc/{0}/task/{0}/children", self.outermost.id());
        let inside = std::fs::read_to_string(children).expect("it runs");
        ["nsenter", "--net", "--target", inside.trim()].map(str::to_owned).to_vec()
    }

    /// Takes the daemon away, or brings it back.
    pub(super) fn hold(&self, exclusive: bool) {
        if exclusive {
            std::fs::write(self.path("held"), "").expect("written");
        } else {
            std::fs::remove_file(self.path("held")).expect("removed");
        }
    }

    /// Makes an image with busybox, and with what `note` says in it.
    pub(super) fn image(&self, name: &str, note: &str, changes: &[&str]) {
        let root = self.path("image");
        std::fs::create_dir_all(root.join("bin")).expect("made");
        std::fs::create_dir_all(root.join("www")).expect("made");
        std::fs::write(root.join("www/index.html"), note).expect("written");
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("copied");
        for program in ["sh", "httpd", "false", "sleep", "wget", "cat", "nc"] {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(program));
        }
        let archive = self.path("image.tar");
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
        assert!(packed.expect("tar runs").success());
        let archive = archive.display().to_string();
        let mut words = vec!["import"];
        words.extend(changes.iter().flat_map(|change| ["--change", change]));
        words.extend([archive.as_str(), name]);
        self.client(&words);
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Its first process ends with this, and everything with it, before the outermost does.
        let _ = std::fs::write(self.path("ended"), "");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) && self.outermost.try_wait().is_ok_and(|it| it.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.outermost),
            rustix::process::Signal::KILL,
        );
        let _ = self.outermost.wait();
        // Control groups outlive their processes; where there are several hierarchies, each has them.
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for hierarchy in hierarchies.map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]) {
            let group = hierarchy.join(&self.group);
            for entry in std::fs::read_dir(&group).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(entry.path());
            }
            let _ = std::fs::remove_dir(group);
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
