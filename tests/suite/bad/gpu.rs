//! A GPU memory budget, with a driver that reports two GPUs, one that fails, one that hangs, and none.

use super::home::{Home, port, run};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A `vllm` that records its command line and answers requests. One folder stands for the memory of its GPU: an awake
/// server holds it, and a server that starts meanwhile fails as vLLM does.
const VLLM: &str = r#"#!/usr/bin/env python3
import http.server, json, os, signal, sys
home, words = os.path.dirname(os.path.abspath(__file__)), sys.argv[1:]
with open(os.path.join(home, "said"), "w") as file:
    file.write(" ".join(words) + "\n" + str(os.environ.get("CUDA_VISIBLE_DEVICES")))
name, port = (words[words.index(flag) + 1] for flag in ("--served-model-name", "--port"))
memory, asleep = os.path.join(home, "memory"), False
def take():
    try:
        os.mkdir(memory)
    except FileExistsError:
        sys.exit("Free memory on device is less than desired GPU memory utilization")
def end(*_):
    if not asleep:
        os.rmdir(memory)
    os._exit(0)
take()
signal.signal(signal.SIGTERM, end)
if name == "broken":
    os.rmdir(memory)
    sys.exit("it does not load")
class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self, status, said=None):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode() if said else b"")
    def do_GET(self):
        sleeps = {"is_sleeping": asleep}
        self.answer(200, sleeps if self.path == "/is_sleeping" else {"data": [{"id": name}]})
    def do_POST(self):
        global asleep
        if "--enable-sleep-mode" not in words or os.environ.get("VLLM_SERVER_DEV_MODE") != "1":
            return self.answer(404)
        if os.path.exists(os.path.join(home, "refuses" + self.path.split("?")[0].replace("/", "-"))):
            return self.answer(500)
        if self.path == "/sleep?level=1":
            os.rmdir(memory)
        else:
            take()
        asleep = self.path != "/wake_up"
        self.answer(200)
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", int(port)), Answers).serve_forever()
"#;

fn program(home: &Home) {
    let vllm = home.write("vllm", VLLM);
    fs::set_permissions(&vllm, fs::Permissions::from_mode(0o755)).expect("a program");
}

/// Writes the stack, and builds the driver's library; `None` where there is no compiler.
fn stack(home: &Home, gpus: &str, memory: &str) -> Option<PathBuf> {
    program(home);
    let port = port();
    home.manifest(&format!(
        "providers:\n  vllm: {{engine: vllm, runtime: process, port: {port}, command: [./vllm, serve], gpus: [{gpus}], \
         memory: {memory}}}\nmodels:\n  m: {{provider: vllm, source: ./m}}"
    ));
    let folder = home.path("driver");
    fs::create_dir_all(&folder).expect("a folder");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fakes/nvml.c");
    let mut compile = Command::new("cc");
    let made = compile.args(["-shared", "-fPIC", "-o"]).arg(folder.join("libnvidia-ml.so.1")).arg(source).status();
    let Ok(status) = made else {
        crate::skipped("there is no C compiler");
        return None;
    };
    assert!(status.success(), "{source} compiles");
    Some(folder)
}

#[test]
fn a_memory_budget_becomes_a_share_of_the_reported_gpu() {
    let home = Home::new();
    let Some(driver) = stack(&home, "GPU-bbbb", "20GiB") else { return };
    let said = run(home.command(&["apply", "--yes"]).env("LD_LIBRARY_PATH", driver));
    assert_eq!(said.code, 0, "{said}");
    let said = fs::read_to_string(home.path("said")).expect("it was called");
    assert!(said.contains(" --gpu-memory-utilization 0.2500") && said.ends_with("\nGPU-bbbb"), "{said}");
}

#[test]
fn without_a_working_driver_nothing_changes() {
    let home = Home::new();
    let Some(driver) = stack(&home, "0", "20GiB") else { return };
    let ask = |how: &str, folder: &PathBuf| {
        let before = home.listing();
        let said = run(home.command(&["apply", "--yes"]).env("LD_LIBRARY_PATH", folder).env("NVML_FAKE", how));
        assert_eq!((said.code, home.listing()), (1, before), "{how}: {said}");
        said
    };
    let hint = "settings: {gpu_memory_utilization: 0.5}";
    ask("no driver", &driver).has(&["cannot query the NVIDIA driver", hint]);
    ask("", &home.path("nowhere")).has(&["libnvidia-ml.so.1", hint]);
    ask("hangs", &driver).has(&["did not answer within 10 s", hint]);
}

#[test]
fn a_budget_beyond_the_gpus_memory_is_rejected() {
    let home = Home::new();
    for (gpus, memory, words) in [
        ("0", "30GiB", "GPU 0 (NVIDIA Small) has 24 GiB, and 30 GiB are asked for"),
        ("0, 1", "30GiB", "GPU 0 (NVIDIA Small) has 24 GiB"),
        ("2", "1GiB", "there is no GPU `2` here"),
    ] {
        let Some(driver) = stack(&home, gpus, memory) else { return };
        let said = run(home.command(&["plan"]).env("LD_LIBRARY_PATH", driver));
        assert_eq!(said.code, 1, "{said}");
        said.has(&[words]);
    }
}

#[test]
fn a_server_sleeps_until_its_successor_on_the_gpu_is_verified() {
    let home = Home::new();
    program(&home);
    let ports: Vec<u16> = (0..3).map(|_| port()).collect();
    let revision = |model: &str, port: u16| {
        home.manifest(&format!(
            "providers:\n  vllm: {{engine: vllm, runtime: process, port: {}, command: [./vllm, serve], gpus: [0], sleep: \
             true}}\nmodels:\n  {model}: {{provider: vllm, source: ./m, port: {port}}}",
            ports[0]
        ));
    };
    let pid = || home.processes();
    revision("one", ports[0]);
    home.expect(0, &["apply", "--yes"]);
    let first = pid();

    // The successor fails: the first one is woken, and was never stopped.
    revision("broken", ports[1]);
    home.expect(0, &["plan"]).has(&["remove process/vllm-one"]);
    let said = home.expect(3, &["apply", "--yes"]);
    said.has(&["done put to sleep process/vllm-one", "done wake process/vllm-one", "it does not load"]);
    assert_eq!(pid(), first);
    revision("one", ports[0]);
    home.expect(0, &["plan", "--detailed-exitcode"]);

    // One that does not wake is restarted.
    home.write("refuses-wake_up", "");
    revision("broken", ports[1]);
    home.expect(3, &["apply", "--yes"]).has(&["done put to sleep process/vllm-one", "done wake process/vllm-one"]);
    assert_ne!(pid(), first);
    assert!(request(ports[0], "GET /v1/models").contains("one"));
    fs::remove_file(home.path("refuses-wake_up")).expect("removed");
    revision("one", ports[0]);
    home.expect(0, &["plan", "--detailed-exitcode"]);

    // It was put to sleep by hand.
    let asked = request(ports[0], "POST /sleep?level=1");
    assert!(asked.contains("200"), "{asked}");
    home.expect(2, &["status"]).has(&["unhealthy", "it sleeps"]);
    home.expect(0, &["apply", "--yes"]).has(&["done wake process/vllm-one"]);

    // Another does come up, and the first one goes, also if it fails to sleep.
    home.write("refuses-sleep", "");
    revision("two", ports[2]);
    let said = home.expect(0, &["apply", "--yes"]);
    said.has(&["done put to sleep process/vllm-one", "done remove process/vllm-one"]);
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
    assert!(request(ports[2], "GET /v1/models").contains("two"));
}

/// Sends one request, and returns all that comes back.
fn request(port: u16, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(stream, "{words} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
