//! A budget of GPU memory, with a driver that tells of two GPUs, one that fails, one that hangs, and none.

use super::home::{Home, port, run};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A `vllm` that says how it was called and answers what is asked of it.
const VLLM: &str = r#"#!/usr/bin/env python3
import http.server, json, os, sys
words = sys.argv[1:]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "said"), "w") as file:
    file.write(" ".join(words) + "\n" + str(os.environ.get("CUDA_VISIBLE_DEVICES")))
name, port = (words[words.index(flag) + 1] for flag in ("--served-model-name", "--port"))
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": name}]}).encode())
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", int(port)), Answers).serve_forever()
"#;

/// Writes the stack, and builds the driver's library; `None` where there is no compiler.
fn stack(home: &Home, gpus: &str, memory: &str) -> Option<PathBuf> {
    let vllm = home.write("vllm", VLLM);
    fs::set_permissions(&vllm, fs::Permissions::from_mode(0o755)).expect("a program");
    let port = port();
    home.manifest(&format!(
        "providers:\n  vllm: {{engine: vllm, runtime: process, port: {port}, command: [./vllm, serve], gpus: [{gpus}], \
         memory: {memory}, health: {{timeout: 20s}}}}\nmodels:\n  m: {{provider: vllm, source: ./m}}"
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
fn a_budget_is_a_share_of_the_gpu_that_the_driver_tells_of() {
    let home = Home::new();
    let Some(driver) = stack(&home, "GPU-bbbb", "20GiB") else { return };
    let said = run(home.command(&["apply", "--yes"]).env("LD_LIBRARY_PATH", driver));
    assert_eq!(said.code, 0, "{said}");
    let said = fs::read_to_string(home.path("said")).expect("it was called");
    assert!(said.contains(" --gpu-memory-utilization 0.2500") && said.ends_with("\nGPU-bbbb"), "{said}");
}

#[test]
fn without_a_driver_that_tells_nothing_is_changed() {
    let home = Home::new();
    let Some(driver) = stack(&home, "0", "20GiB") else { return };
    let ask = |how: &str, folder: &PathBuf| {
        let before = home.listing();
        let said = run(home.command(&["apply", "--yes"]).env("LD_LIBRARY_PATH", folder).env("NVML_FAKE", how));
        assert_eq!((said.code, home.listing()), (1, before), "{how}: {said}");
        said
    };
    let hint = "settings: {gpu_memory_utilization: 0.5}";
    ask("no driver", &driver).has(&["the NVIDIA driver cannot be asked", hint]);
    ask("", &home.path("nowhere")).has(&["libnvidia-ml.so.1", hint]);
    let begun = Instant::now();
    ask("hangs", &driver).has(&["did not answer within 10 s", hint]);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn more_than_a_gpu_has_is_refused() {
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
