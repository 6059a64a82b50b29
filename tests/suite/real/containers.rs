//! A stack across runtimes: llama.cpp, Redis and a page in containers, the gateway on systemd.

use super::engine::Private;
use super::home::{Home, files_below, post};
use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The ports of the gateway, of llama.cpp, of Redis and of the page.
const PORTS: [u16; 4] = [18450, 18451, 18452, 18453];

struct Lane {
    home: Home,
    engine: Private,
}

impl Lane {
    /// Returns the manifest; `page` is the page's image, and `edit` changes the text.
    fn manifest(&self, page: &str, edit: impl FnOnce(String) -> String) {
        let [gateway, model, cache, page_port] = PORTS;
        let home = &self.home;
        // What is needed of this machine is lent to an image that has nothing but a shell.
        let lent = |more: &str| {
            let all = format!("/usr /lib /lib64 {more}");
            let lend = |path: &str| format!("\"{}:{path}:ro\"", fs::canonicalize(path).expect("a place").display());
            let volumes: Vec<String> = all.split_whitespace().map(lend).collect();
            format!("[{}]", volumes.join(", "))
        };
        // The interpreter of a virtual environment lies elsewhere.
        let python = fs::canonicalize(home.part("llama/bin/python")).expect("a python");
        let python = python.ancestors().nth(2).expect("its folder").display().to_string();
        let python = if python == "/usr" { String::new() } else { python };
        let text = format!(
            r#"version: 1
stack: boxes
providers:
  llama-cpp:
    engine: llama-cpp
    runtime: docker
    image: "{tools}"
    port: {model}
    command: ["{program}", "{root}/manifests/quickstart/llama_server.py"]
    volumes: {of_llama}
    limits: {{memory: 2GiB}}
models:
  small: {{provider: llama-cpp, source: "file:{gemma}", context: 1024}}
cache:
  engine: redis
  runtime: docker
  image: "{tools}"
  port: {cache}
  memory: 64MiB
  command: [/usr/bin/redis-server]
  volumes: {of_redis}
gateway:
  engine: litellm
  runtime: systemd
  port: {gateway}
  command: ["{litellm}"]
  master_key: {{file: ~/.config/llamero/boxes-key, generate: true}}
services:
  page:
    runtime: docker
    image: "{page}"
    network: host
    ports: [{page_port}]
    args: [/bin/sh, -c, "trap 'exit 0' TERM; /bin/httpd -f -p 127.0.0.1:{page_port} -h /www & wait"]
    env: {{API: "${{gateway.url}}/v1"}}
    secrets: {{KEY: {{file: ~/.config/llamero/boxes-key}}}}
    after: [gateway]
    health: {{path: /}}
policy: {{health: {{timeout: 60s, stable_for: 1s}}}}
"#,
            tools = format_args!("{}/tools:1", self.engine.registry),
            program = home.part("llama/bin/python"),
            root = env!("CARGO_MANIFEST_DIR"),
            of_llama = lent(&format!("{} {} {}", env!("CARGO_MANIFEST_DIR"), home.part("llama"), python)),
            of_redis = lent("/etc/ssl"),
            gemma = home.part("gemma3/gemma3.gguf"),
            litellm = home.part("litellm/bin/litellm"),
        );
        home.write("llamero.yaml", &edit(text));
    }

    fn ask(&self, prompt: &str) -> String {
        let key = fs::read_to_string(self.home.under_home(".config/llamero/boxes-key")).expect("a key");
        let body = format!(r#"{{"model":"small","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":4}}"#);
        post(PORTS[0], "/v1/chat/completions", key.trim(), &body)
    }

    fn page() -> String {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", PORTS[3])).expect("connected");
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer.rsplit_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned())
    }

    /// Returns the id of a container that runs.
    fn id(&self, name: &str) -> String {
        self.engine.client(&["inspect", "--format", "{{.Id}} {{.State.Running}}", name])
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, a systemd user manager, dockerd, docker-registry and the test environment"]
async fn a_containerized_stack_is_applied_changed_rolled_back_and_removed() {
    let Some((engine, _)) = Private::start_on_the_host().await else { return };
    let socket = format!("unix://{}", engine.path("docker.sock").display());
    let lane = Lane { home: Home::new().with("DOCKER_HOST", &socket), engine };
    let (home, engine) = (&lane.home, &lane.engine);
    engine.publish("tools:1", "tools", &[]);
    let page = engine.publish("page:1", "one", &["CMD [\"/bin/sleep\", \"1000\"]"]);
    let other = engine.publish("page:2", "two", &[]);
    lane.manifest(&page, |text| text);

    // It is locked, comes up, and the second time there is nothing to do.
    assert!(home.expect(0, &["lock"]).contains("image:127.0.0.1"));
    let said = home.expect(0, &["apply", "--locked", "--yes"]);
    assert!(said.contains("Applied generation 1"), "{said}");
    assert!(home.expect(0, &["plan", "--detailed-exitcode"]).contains("Nothing to do"));
    home.expect(0, &["status"]);
    let answer = lane.ask("The capital of France is");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(lane.ask("The capital of France is").contains("x-litellm-cache-key"));
    assert!(Lane::page().contains("one"), "{}", Lane::page());

    // Limits are in force, and a secret reaches its reader past the engine's eyes.
    let limit = engine.client(&["inspect", "--format", "{{.HostConfig.Memory}}", "boxes-llama-cpp-small"]);
    assert_eq!(limit, (2_u64 << 30).to_string());
    let key = fs::read_to_string(home.under_home(".config/llamero/boxes-key")).expect("a key").trim().to_owned();
    let inside = engine.client(&["exec", "boxes-page", "/bin/cat", "/proc/1/environ"]);
    assert!(inside.contains(&key) && inside.contains(&format!("API=http://127.0.0.1:{}/v1", PORTS[0])), "{inside}");
    assert!(!engine.client(&["inspect", "boxes-page"]).contains(&key));

    // One image changes, and only its container. One that ends at once is rolled back to the same container as before.
    let (model, first) = (lane.id("boxes-llama-cpp-small"), lane.id("boxes-page"));
    lane.manifest(&page, |text| text.replace("/bin/httpd -f", "exit 3; /bin/httpd -f"));
    let said = home.expect(3, &["apply", "--yes"]);
    assert!(said.contains("exit code") && said.contains("generation 1 and healthy"), "{said}");
    assert_eq!(lane.id("boxes-page"), first);
    lane.manifest(&other, |text| text);
    let said = home.expect(0, &["plan"]);
    assert!(said.contains("create  image/page") && said.contains("change  container/boxes-page"), "{said}");
    home.expect(0, &["apply", "--yes"]);
    assert!(Lane::page().contains("two") && lane.id("boxes-page") != first);
    assert_eq!(lane.id("boxes-llama-cpp-small"), model);
    let all = engine.client(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(all.lines().count(), 3, "{all}");

    // The tag moves: that is shown and not followed without `update`. The rollback needs no registry.
    home.expect(0, &["lock"]);
    home.expect(0, &["apply", "--yes"]);
    engine.publish("page:2", "three", &[]);
    assert!(home.expect(2, &["outdated"]).contains("llamero update page"));
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    assert!(home.expect(0, &["update", "page"]).contains("(was"));
    home.expect(0, &["apply", "--yes"]);
    assert!(Lane::page().contains("three"));
    home.expect(0, &["rollback", "--yes"]);
    assert!(Lane::page().contains("two"));
    home.expect(0, &["apply", "--yes"]);

    // A change by hand is drift, and an unmanaged container is left alone.
    engine.client(&["stop", "-t", "1", "boxes-cache"]);
    engine.client(&["rm", "-f", "boxes-page"]);
    let said = home.expect(0, &["plan"]);
    assert!(said.contains("boxes-cache") && said.contains("it is missing"), "{said}");
    home.expect(0, &["apply", "--yes"]);
    assert!(Lane::page().contains("three"));
    let tools = format!("{}/tools:1", engine.registry);
    engine.client(&["run", "-d", "--name", "boxes-theirs", "--network", "host", &tools, "/bin/sleep", "1000"]);
    let theirs = lane.id("boxes-theirs");
    lane.manifest(&other, |text| {
        text.replace("policy:", "  theirs: {runtime: docker, image: \"x:1\"}\npolicy:").replace("x:1", &tools)
    });
    let said = home.expect(7, &["apply", "--yes"]);
    assert!(said.contains("the container boxes-theirs exists and is not managed by llamero"), "{said}");

    // A server moves from one runtime to another in one plan, and back.
    let server = format!("{}/manifests/quickstart/llama_server.py", env!("CARGO_MANIFEST_DIR"));
    lane.manifest(&other, |text| {
        let (before, rest) = text.split_once("    runtime: docker\n    image: ").expect("a provider");
        let (_, rest) = rest.split_once("    port:").expect("a port");
        let (head, rest) = rest.split_once("    volumes:").expect("volumes");
        let (_, rest) = rest.split_once('\n').expect("a line");
        assert!(head.contains(&server));
        format!("{before}    runtime: systemd\n    port:{head}{rest}")
    });
    let said = home.expect(0, &["plan"]);
    assert!(said.contains("create  unit/boxes-llama") && said.contains("remove  container/boxes-llama"), "{said}");
    home.expect(0, &["apply", "--yes"]);
    assert!(lane.ask("Once upon a time").starts_with("HTTP/1.1 200"));
    lane.manifest(&other, |text| text);
    home.expect(0, &["apply", "--yes"]);
    assert!(lane.ask("Once upon another time").starts_with("HTTP/1.1 200"));

    // Without the engine nothing is taken for gone; when it goes in the middle, the next apply gets there.
    engine.hold(true);
    std::thread::sleep(Duration::from_millis(500));
    let said = home.expect(1, &["plan"]);
    assert!(said.contains("cannot see container/boxes-page") && said.contains("hint:"), "{said}");
    engine.hold(false);
    engine.connect().await;
    home.expect(0, &["apply", "--yes"]);
    lane.manifest(&page, |text| text);
    let mut apply = home.command(&["apply", "--yes", "--json"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let lines = std::io::BufReader::new(apply.stdout.take().expect("piped")).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains("\"started\"") && line.contains("stop container/boxes-page") {
            engine.hold(true);
            std::thread::sleep(Duration::from_secs(1));
            engine.hold(false);
        }
    }
    let code = apply.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 3 | 4)), "{code:?}");
    engine.connect().await;
    home.expect(0, &["apply", "--yes"]);
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    assert!(Lane::page().contains("one"));

    // Nothing managed is left, and everything unmanaged is.
    home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(engine.client(&["ps", "-a", "--format", "{{.Names}}"]), "boxes-theirs");
    // The engine ended it with itself, and llamero did not touch it.
    assert_eq!(lane.id("boxes-theirs").split(' ').next(), theirs.split(' ').next());
    let images = engine.client(&["images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"]);
    assert!(images.lines().all(|image| image.contains("/tools")), "{images}");
    let left = files_below(&home.under_home(".local/state/llamero/boxes"));
    assert!(left.iter().all(|path| path.ends_with("lock")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, dockerd and docker-registry"]
async fn services_have_a_network_of_their_own() {
    let Some((engine, _)) = Private::start().await else { return };
    let socket = format!("unix://{}", engine.path("docker.sock").display());
    let home = Home::new().with("DOCKER_HOST", &socket);
    let serve = "CMD [\"/bin/sh\", \"-c\", \"trap 'exit 0' TERM; /bin/httpd -f -p 80 -h /www & wait\"]";
    // The registry is on the engine's network, where its client is not.
    for (name, note) in [("api:1", "api"), ("page:1", "page")] {
        engine.image(&format!("localhost/{name}"), note, &[serve]);
    }
    home.write(
        "llamero.yaml",
        "version: 1\nstack: nets\npolicy: {health: {timeout: 20s, stable_for: 1s}}\nservices:\n  api:\n    runtime: \
         docker\n    image: localhost/api:1\n    ports: [\"8081:80\"]\n    health: {path: /}\n  page:\n    runtime: \
         docker\n    image: localhost/page:1\n    ports: [\"8082:80\"]\n    env: {API: \"${services.api.url}\"}\n    \
         volumes: [\"nets-data:/data\"]\n    limits: {memory: 64MiB}\n    read_only: true\n    after: [api]\n    health: \
         {path: /}\n",
    );
    let run = |code: i32, words: &[&str]| {
        let llamero = home.command(words);
        let inside = engine.on_its_network();
        let mut command = Command::new(&inside[0]);
        command.args(&inside[1..]).arg(llamero.get_program()).args(llamero.get_args()).env("DOCKER_HOST", &socket);
        let output = command.current_dir(home.path("")).output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        said
    };
    run(0, &["apply", "--yes"]);
    assert!(run(0, &["plan"]).contains("Nothing to do"));
    let asked = engine.client(&["exec", "nets-page", "/bin/sh", "-c", "wget -qO- $API/index.html"]);
    assert_eq!(asked, "api");
    let ports = engine.client(&["port", "nets-page"]);
    assert_eq!(ports, "80/tcp -> 127.0.0.1:8082");
    run(0, &["down", "--purge", "--yes"]);
    assert_eq!(engine.client(&["ps", "-aq"]), "");
    assert!(!engine.client(&["network", "ls", "--format", "{{.Name}}"]).contains("llamero"));
    // What is not llamero's to make again stays: the images were there before, and the volume has the user's data.
    assert_eq!(engine.client(&["images", "-q"]).lines().count(), 2);
    assert_eq!(engine.client(&["volume", "ls", "-q"]), "nets-data");
}
