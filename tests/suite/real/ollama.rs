//! A real Ollama of its own, beside a real registry and beside one that has bad days.

use super::parts::{part, place};
use crate::clock;
use crate::fakes::registry::Registry;
use crate::skipped;
use llamero::resource::{Bytes, Digest, OllamaName};
use llamero::systems::downloads::{Patience, Progress};
use llamero::systems::http::Client;
use llamero::systems::ollama::{Derived, Error, Fault, KeepAlive, Load, Ollama, Pull, manifest};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(30);
const PATIENCE: Patience = Patience {
    stall: Duration::from_secs(3),
    tries: 4,
    pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(2),
};

/// Returns the Ollama of the test environment, or says that there is none.
pub(super) fn program() -> Option<PathBuf> {
    if place("ollama").is_none() {
        skipped("tests/real/install could not build Ollama");
        return None;
    }
    Some(part("ollama/ollama"))
}

pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A server and all that it has started; it ends with the test.
pub(super) struct Server(Child);

impl Server {
    fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        Self(command.spawn().expect("it starts"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// An Ollama with its own home and its own models.
pub(super) struct Private {
    program: PathBuf,
    pub(super) folder: TempDir,
    host: String,
    pub(super) endpoint: String,
    server: Mutex<Option<Server>>,
}

impl Private {
    pub(super) async fn start(program: PathBuf) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let endpoint = format!("http://{host}");
        let folder = tempfile::tempdir().expect("a folder");
        let private = Self { program, folder, host, endpoint, server: Mutex::default() };
        private.restart().await;
        private
    }

    /// Kills it if it runs, and starts it again with what it has on disk.
    async fn restart(&self) {
        self.kill();
        let server = Server::start(self.command().arg("serve"), self.folder.path(), "ollama");
        *self.server.lock().expect("no panic") = Some(server);
        let client = Client::new().expect("a client");
        let answers = async || Ollama::new(&client, &self.endpoint).tags().await.is_ok();
        clock::until_async("Ollama answers", answers).await;
    }

    fn kill(&self) {
        drop(self.server.lock().expect("no panic").take());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("HOME", self.folder.path()).env("OLLAMA_HOST", &self.host);
        command.env("OLLAMA_MODELS", self.folder.path().join("models"));
        command
    }

    pub(super) fn run(&self, words: &[&str]) {
        let output = self.command().args(words).current_dir(self.folder.path()).output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn ollama<'a>(&'a self, client: &'a Client) -> Ollama<'a> {
        Ollama::new(client, &self.endpoint)
    }
}

/// Starts the packaged registry, and returns its host and port.
pub(super) fn registry(folder: &Path) -> (String, Server) {
    let host = format!("127.0.0.1:{}", free_port());
    // Ollama asks every layer's answer for a location, also where it is no redirect.
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
         http: {{addr: \"{host}\", headers: {{Location: [\"#\"]}}}}\n",
        folder.join("registry").display()
    );
    let config = folder.join("registry.yml");
    std::fs::write(&config, text).expect("written");
    let server = Server::start(Command::new("docker-registry").arg("serve").arg(&config), folder, "registry");
    clock::until("the registry answers", || std::net::TcpStream::connect(&host).is_ok());
    (host, server)
}

fn pull_of(name: &OllamaName) -> Pull {
    Pull { name: name.clone(), insecure: true, patience: PATIENCE }
}

async fn digest_of(ollama: Ollama<'_>, name: &OllamaName) -> Option<Digest> {
    let tags = ollama.tags().await.expect("a list");
    tags.into_iter().find(|tag| tag.name == *name).map(|tag| tag.digest)
}

#[tokio::test]
#[ignore = "needs ollama and docker-registry"]
#[expect(clippy::print_stderr, reason = "times are measured, not asserted")]
async fn a_model_lives_its_whole_life() {
    let Some(program) = program() else { return };
    let private = Private::start(program).await;
    let (host, registry_server) = registry(private.folder.path());
    let client = Client::new().expect("a client");
    let (ollama, cancel) = (private.ollama(&client), CancellationToken::new());
    eprintln!("Ollama {}", ollama.version().await.expect("a version"));
    assert_eq!(ollama.tags().await.expect("a list"), []);
    assert_eq!(ollama.ps().await.expect("a list"), []);

    // A model is published.
    let text = format!("{host}/Team/tiny:one");
    let name = OllamaName::parse(&text).expect("a name");
    let lower = OllamaName::parse(&text.replace("Team", "team")).expect("a name");
    let weights = part("gemma3/gemma3.gguf");
    let publish = |name: &str, system: &str| {
        let modelfile = private.folder.path().join("Modelfile");
        let text = format!("FROM {}\nTEMPLATE {{{{ .Prompt }}}}\nSYSTEM {system}\n", weights.display());
        std::fs::write(&modelfile, text).expect("written");
        private.run(&["create", name, "-f", "Modelfile"]);
        private.run(&["push", "--insecure", name]);
    };
    let text = lower.shortest();
    publish(&text, "first");
    ollama.delete(&lower).await.expect("deleted");
    ollama.delete(&lower).await.expect("gone already");
    assert_eq!(ollama.tags().await.expect("a list"), []);

    // It is pulled, and is what the registry says.
    let offered = manifest(&client, &lower, true, SOON).await.expect("a manifest");
    let reported = Mutex::new(vec![]);
    let on_progress = |progress: Progress| reported.lock().expect("no panic").push(progress);
    let begun = Instant::now();
    ollama.pull(&pull_of(&lower), &on_progress, &cancel).await.expect("pulled");
    let reported = reported.into_inner().expect("no panic");
    eprintln!("pulled {} in {:?}, {} reports", offered.size, begun.elapsed(), reported.len());
    assert_eq!(reported.last(), Some(&Progress { received: offered.size.0, total: Some(offered.size.0) }));
    assert!(reported.len() > 2 && reported.is_sorted_by_key(|progress| progress.received));
    let tags = ollama.tags().await.expect("a list");
    assert_eq!((&tags[0].name, &tags[0].digest, tags[0].size), (&lower, &offered.digest, offered.size));
    let begun = Instant::now();
    ollama.pull(&pull_of(&lower), &|_| {}, &cancel).await.expect("pulled");
    eprintln!("pulled again in {:?}", begun.elapsed());

    // What cannot be pulled.
    let unknown = lower.with_tag("nowhere").expect("a name");
    let failed = |error| match error {
        Error::Failed { fault, .. } => fault,
        error => panic!("{error:?}"),
    };
    let error = ollama.pull(&pull_of(&unknown), &|_| {}, &cancel).await.expect_err("no such tag");
    assert_eq!(failed(error), Fault::Unknown);
    assert!(matches!(manifest(&client, &unknown, true, SOON).await, Err(Error::NotFound { .. })));
    let secure = Pull { insecure: false, ..pull_of(&lower) };
    let error = ollama.pull(&secure, &|_| {}, &cancel).await.expect_err("it speaks plain HTTP");
    assert_eq!(failed(error), Fault::Insecure);

    // A model of other settings is made from it, pinned, and taken out of memory.
    let derived = Derived {
        name: OllamaName::parse("llamero/tiny:derived").expect("a name"),
        from: lower.clone(),
        parameters: serde_json::json!({"num_ctx": 512, "stop": ["."]}).as_object().expect("an object").clone(),
        template: None,
        system: Some("derived".to_owned()),
    };
    ollama.create(&derived, &cancel).await.expect("made");
    let described = ollama.show(&derived.name).await.expect("a description");
    assert!(described.parameters.contains("num_ctx") && described.system == "derived", "{described:?}");
    assert!(!described.is_embedding() && described.template == "{{ .Prompt }}");
    let missing = Derived { from: unknown.clone(), ..derived.clone() };
    assert!(matches!(ollama.create(&missing, &cancel).await, Err(Error::NotFound { .. })));
    let begun = Instant::now();
    ollama
        .load(Load { name: &derived.name, keep_alive: KeepAlive::Forever, embedding: false }, SOON, &cancel)
        .await
        .expect("loaded");
    eprintln!("loaded in {:?}", begun.elapsed());
    let loaded = ollama.ps().await.expect("a list");
    assert_eq!((loaded.len(), &loaded[0].name, loaded[0].context_length), (1, &derived.name, Some(512)));
    assert!(loaded[0].pinned && loaded[0].size > Bytes(0), "{loaded:?}");
    let begun = Instant::now();
    ollama.unload(&derived.name, SOON, &cancel).await.expect("unloaded");
    eprintln!("unloaded in {:?}", begun.elapsed());
    assert_eq!(ollama.ps().await.expect("a list"), []);
    ollama
        .load(Load { name: &lower, keep_alive: KeepAlive::Default, embedding: true }, SOON, &cancel)
        .await
        .expect("loaded");
    assert!(!ollama.ps().await.expect("a list")[0].pinned);
    assert!(matches!(
        ollama.load(Load { name: &unknown, keep_alive: KeepAlive::Default, embedding: false }, SOON, &cancel).await,
        Err(Error::NotFound { .. })
    ));

    // The tag moves; the old model is kept under another name, and comes back without the registry.
    let backup = OllamaName::parse("llamero/backup:1").expect("a name");
    ollama.copy(&lower, &backup).await.expect("copied");
    assert_eq!(digest_of(ollama, &backup).await.as_ref(), Some(&offered.digest));
    publish(&text, "second");
    let moved = manifest(&client, &lower, true, SOON).await.expect("a manifest");
    assert_ne!(moved.digest, offered.digest);
    let shared = moved.layers.iter().filter(|layer| offered.layers.contains(layer)).count();
    assert!(shared > 0 && shared < moved.layers.len(), "{moved:?}");
    ollama.pull(&pull_of(&lower), &|_| {}, &cancel).await.expect("pulled");
    assert_eq!(digest_of(ollama, &lower).await, Some(moved.digest));
    drop(registry_server);
    assert!(matches!(manifest(&client, &lower, true, SOON).await, Err(Error::Network { .. })));
    ollama.copy(&backup, &lower).await.expect("copied back");
    assert_eq!(digest_of(ollama, &lower).await, Some(offered.digest));
    assert_eq!(name, lower);
}

/// A GGUF of no tensors, and bytes that differ by `seed` behind it. The header must be right: at its start Ollama reads
/// that of every model, and dies of one that it cannot read.
pub(super) fn weights(seed: u8) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let (version, string) = (3_u32.to_le_bytes(), 8_u32.to_le_bytes());
    let (tensors, values) = (0_u64.to_le_bytes(), 1_u64.to_le_bytes());
    let (key, value) = (text("general.architecture"), text("llama"));
    let header = [b"GGUF", version.as_slice(), &tensors, &values, &key, &string, &value].concat();
    let rest = (0..8_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed);
    header.into_iter().chain(rest).collect()
}

#[tokio::test]
#[ignore = "needs ollama and docker-registry"]
#[expect(clippy::print_stderr, reason = "what Ollama asks for after it was killed is worth seeing")]
async fn pulls_survive_failures() {
    let Some(program) = program() else { return };
    let private = Private::start(program).await;
    let registry = Registry::start().await;
    let client = Client::new().expect("a client");
    let (ollama, cancel) = (private.ollama(&client), CancellationToken::new());
    let name_of = |model: &str| OllamaName::parse(&format!("{}/team/{model}:one", registry.host)).expect("a name");

    // Called off in the middle: the next pull goes on from there.
    let digest = registry.publish("team/stopped", "one", &weights(1));
    registry.slow_down(10);
    let stop = CancellationToken::new();
    let on_progress = |progress: Progress| {
        if progress.received > 3_000_000 {
            stop.cancel();
        }
    };
    let name = name_of("stopped");
    assert!(matches!(ollama.pull(&pull_of(&name), &on_progress, &stop).await, Err(Error::Cancelled)));
    assert_eq!(digest_of(ollama, &name).await, None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = registry.ranges().len();
    ollama.pull(&pull_of(&name), &|_| {}, &cancel).await.expect("pulled");
    assert_eq!(digest_of(ollama, &name).await, Some(digest));
    let resumed = &registry.ranges()[before];
    let start = resumed.strip_prefix("bytes=").and_then(|range| range.split_once('-')?.0.parse::<u64>().ok());
    assert!(start.is_some_and(|start| start > 2_000_000), "{resumed}");

    // Ollama is killed in the middle and comes back while llamero still waits.
    let digest = registry.publish("team/killed", "one", &weights(2));
    let name = name_of("killed");
    let reached = tokio::sync::Notify::new();
    let on_progress = |progress: Progress| {
        if progress.received > 3_000_000 {
            reached.notify_one();
        }
    };
    let kill = async {
        reached.notified().await;
        private.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        private.restart().await;
    };
    let pull = pull_of(&name);
    let (pulled, ()) = tokio::join!(ollama.pull(&pull, &on_progress, &cancel), kill);
    pulled.expect("pulled");
    assert_eq!(digest_of(ollama, &name).await, Some(digest));
    eprintln!("ranges asked for: {:?}", registry.ranges());

    // What arrives is not what was promised; when it is, the pull succeeds.
    let digest = registry.publish("team/damaged", "one", &weights(3));
    registry.slow_down(0);
    registry.corrupt(&Digest::of(weights(3)));
    let name = name_of("damaged");
    let error = ollama.pull(&pull_of(&name), &|_| {}, &cancel).await.expect_err("it is damaged");
    assert!(matches!(error, Error::Failed { fault: Fault::Mismatch, .. }), "{error:?}");
    assert_eq!(digest_of(ollama, &name).await, None);
    registry.corrupt(&Digest::of(weights(3)));
    ollama.pull(&pull_of(&name), &|_| {}, &cancel).await.expect("pulled");
    assert_eq!(digest_of(ollama, &name).await, Some(digest));

    // The registry refuses for now, and then says nothing more.
    registry.refuse(429);
    let error = ollama.pull(&pull_of(&name), &|_| {}, &cancel).await.expect_err("it is refused");
    assert!(matches!(error, Error::Failed { fault: Fault::Transient, .. }), "{error:?}");
    registry.refuse(0);
    registry.publish("team/silent", "one", &weights(4));
    registry.slow_down(60_000);
    let error = clock::ends(ollama.pull(&pull_of(&name_of("silent")), &|_| {}, &cancel)).await.expect_err("it stalls");
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
}

/// The whole line: llamero runs Ollama, keeps its models as declared, and takes away only what it brought.
#[tokio::test]
#[ignore = "needs a systemd user manager, ollama and docker-registry"]
async fn llamero_keeps_models_as_declared() {
    let Some(program) = program() else { return };
    let maker = Private::start(program.clone()).await;
    let (host, registry) = registry(maker.folder.path());
    let source = format!("{host}/library/tiny:1");
    let modelfile = maker.folder.path().join("Modelfile");
    let weights = part("gemma3/gemma3.gguf");
    std::fs::write(&modelfile, format!("FROM {}\nPARAMETER num_predict 8\n", weights.display())).expect("written");
    maker.run(&["create", &source, "-f", &modelfile.display().to_string()]);
    maker.run(&["push", "--insecure", &source]);

    let home = super::home::Home::new();
    let port = free_port();
    let revision = |context: u32, more: &str| {
        home.write(
            "llamero.yaml",
            &format!(
                "version: 1\nstack: pulls\npolicy: {{health: {{stable_for: 1s}}}}\nproviders:\n  ollama: {{engine: ollama, \
                 runtime: systemd, port: {port}, command: [{program}, serve]}}\nmodels:\n  tiny: {{provider: ollama, \
                 source: \"{source}\", insecure: true, context: {context}, load: pinned}}\n{more}",
                program = program.display()
            ),
        );
    };
    let plain = format!("  plain: {{provider: ollama, source: \"{source}\", insecure: true}}\n");
    revision(1024, &plain);
    assert!(home.expect(0, &["plan"]).contains("download 241"), "the registry reports the size");
    home.expect(0, &["apply", "--yes"]);
    assert!(home.expect(0, &["apply", "--yes"]).contains("Nothing to do"));
    let client = Client::new().expect("a client");
    let endpoint = format!("http://127.0.0.1:{port}");
    let ollama = Ollama::new(&client, &endpoint);
    let own = OllamaName::parse("llamero-pulls/tiny").expect("a name");
    let loaded = ollama.ps().await.expect("a list");
    assert!(loaded.iter().any(|loaded| loaded.name == own && loaded.pinned && loaded.context_length == Some(1024)));

    // Evicted, it is drift; an unmanaged model is left alone.
    ollama.unload(&own, SOON, &CancellationToken::new()).await.expect("unloaded");
    let theirs = OllamaName::parse("theirs:1").expect("a name");
    ollama.copy(&OllamaName::parse(&source).expect("a name"), &theirs).await.expect("copied");
    assert!(home.expect(0, &["plan"]).contains("it should stay loaded, but is not loaded"));
    home.expect(0, &["apply", "--yes"]);

    // Another context makes another model of llamero's own; the server runs on.
    let before = super::home::property("pulls-ollama.service", "InvocationID");
    revision(2048, &plain);
    assert!(home.expect(0, &["plan"]).contains("context: 1024 → 2048"));
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(super::home::property("pulls-ollama.service", "InvocationID"), before);

    // Back without the registry, and away with what llamero brought and nothing else.
    drop(registry);
    home.expect(0, &["rollback", "--yes"]);
    home.expect(0, &["down", "--yes"]);
    home.expect(0, &["apply", "--yes"]);
    revision(2048, "");
    home.expect(0, &["apply", "--yes"]);
    let down = home.expect(0, &["down", "--purge", "--yes"]);
    assert!(down.contains("remove model/ollama-tiny"), "{down}");
    let left = home.under_home(".ollama/models/manifests");
    let names: Vec<_> = super::home::files_below(&left);
    assert!(names.iter().all(|path| path.ends_with("theirs/1")) && !names.is_empty(), "{names:?}");
}

/// Several models of one source are several live models: each has its own settings, and none changes with another.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ollama"]
async fn models_of_one_source_are_independent() {
    let Some(program) = program() else { return };
    let server = Private::start(program).await;
    let registry = Registry::start().await;
    registry.publish("team/base", "one", &weights(6));
    registry.publish("other/base", "one", &weights(7));
    let source = |publisher: &str| format!("{}/{publisher}/base:one", registry.host);
    let home = super::home::Home::new();
    let revision = |models: &[(&str, &str, u32, &str)]| {
        let lines: String = models
            .iter()
            .map(|(name, publisher, context, system)| {
                let source = source(publisher);
                format!(
                    "  {name}: {{provider: ollama, source: \"{source}\", insecure: true, context: {context}, system: \
                     {system}}}\n"
                )
            })
            .collect();
        home.write(
            "llamero.yaml",
            &format!(
                "version: 1\nstack: twins\nproviders:\n  ollama: {{engine: ollama, runtime: external, endpoint: \"{}\", \
                 manage: models}}\nmodels:\n  plain: {{provider: ollama, source: \"{team}\", insecure: true}}\n  again: \
                 {{provider: ollama, source: \"{team}\", insecure: true}}\n{lines}",
                server.endpoint,
                team = source("team"),
            ),
        );
    };
    let client = Client::new().expect("a client");
    let ollama = server.ollama(&client);
    let own = |name: &str| OllamaName::parse(&format!("llamero-twins/{name}")).expect("a name");
    let has = async |name: &str| {
        let described = ollama.show(&own(name)).await.ok()?;
        let context = described.parameters.lines().find_map(|line| line.strip_prefix("num_ctx")?.trim().parse().ok());
        Some((context.unwrap_or(0_u32), described.system))
    };
    let is = |context: u32, system: &str| Some((context, system.to_owned()));

    revision(&[("a", "team", 512, "first"), ("b", "team", 1024, "second"), ("c", "other", 512, "third")]);
    let planned = home.expect(0, &["plan"]);
    // Two names for what is merely pulled are one model.
    assert!(planned.contains("4 to create"), "{planned}");
    home.expect(0, &["apply", "--yes"]);
    assert_eq!((has("a").await, has("b").await), (is(512, "first"), is(1024, "second")));
    assert_eq!(has("c").await, is(512, "third"));
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    let digests = async || (digest_of(ollama, &own("a")).await, digest_of(ollama, &own("c")).await);
    let untouched = digests().await;

    // One changes, the others stay to the byte.
    revision(&[("a", "team", 512, "first"), ("b", "team", 2048, "second"), ("c", "other", 512, "third")]);
    let planned = home.expect(0, &["plan"]);
    assert!(planned.contains("context: 1024 → 2048") && planned.contains("1 to change"), "{planned}");
    home.expect(0, &["apply", "--yes"]);
    assert_eq!((has("b").await, digests().await), (is(2048, "second"), untouched.clone()));

    // What another program makes of it is seen, and put right.
    let team = OllamaName::parse(&source("team")).expect("a name");
    let parameters = serde_json::json!({"num_ctx": 256}).as_object().expect("an object").clone();
    let other = Derived { name: own("b"), from: team, parameters, template: None, system: None };
    ollama.create(&other, &CancellationToken::new()).await.expect("made");
    let planned = home.expect(0, &["plan"]);
    for words in [
        "another program recreated it with other settings",
        "models.b.context: 2048 declared, 256 in force",
        "models.b.system is not in force as declared",
    ] {
        assert!(planned.contains(words), "{words} in\n{planned}");
    }
    home.expect(0, &["apply", "--yes"]);
    assert_eq!((has("b").await, digests().await), (is(2048, "second"), untouched));

    // One goes once no generation that can be gone back to needs it; what the others are made of stays.
    for (index, context) in [512, 513, 514, 515].into_iter().enumerate() {
        let system = format!("round{index}");
        revision(&[("a", "team", context, &system), ("c", "other", 512, "third")]);
        home.expect(0, &["apply", "--yes"]);
        assert_eq!((has("a").await, has("c").await), (is(context, &system), is(512, "third")));
    }
    assert_eq!(has("b").await, None);
    assert!(digest_of(ollama, &OllamaName::parse(&source("team")).expect("a name")).await.is_some());
    home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(ollama.tags().await.expect("a list"), []);
}
