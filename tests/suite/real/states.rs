//! State files of this version from a real run: the compatibility tests have one of each. With `UPDATE` set they are
//! written there.

use super::ollama::{Private, free_port, program};
use super::parts::part;
use llamero::resource::Digest;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The stack's sections; what is in braces is filled in.
const MANIFEST: &str = "\
version: 1
stack: workstation
policy: {health: {timeout: 60s, stable_for: 0s}}
providers:
  ollama: {engine: ollama, runtime: process, port: {ollama_port}, command: [{ollama}, serve], settings: {models: {store}}}
  llama:
    engine: llama-cpp
    runtime: process
    port: {port}
    command: [sh, -c, \"cd {web}; exec python3 -m http.server {port} --bind 127.0.0.1\"]
    health: {path: /}
models:
  tiny: {provider: ollama, context: {context}}
  local: {provider: llama, source: \"file:{gguf}\", sha256: {sha256}}
services:
  idle: {runtime: process, command: [sleep, \"601\"], secrets: {TOKEN: {file: {token}}}}
";

fn llamero(home: &Path, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llamero"));
    let path = std::env::var_os("PATH").expect("a path");
    command.args(words).env_clear().env("PATH", path).env("HOME", home).current_dir(home).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies the state files of a folder: neither locks nor logs, which have no layout.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if matches!(name.as_str(), "desired" | "outcome") || path.extension().is_some_and(|end| end == "json") {
            fs::create_dir_all(to).expect("a folder");
            fs::copy(path, to.join(name)).expect("copied");
        }
    }
}

/// Returns the paths of the files below a folder, without the digests in their names.
fn names(folder: &Path) -> BTreeSet<PathBuf> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = PathBuf::from(entry.file_name());
        if entry.path().is_dir() {
            names.extend(self::names(&entry.path()).into_iter().map(|below| name.join(below)));
        } else {
            let text = name.display().to_string();
            let hashed = folder.ends_with("artifacts") || text.starts_with("kept-");
            names.insert(if hashed { PathBuf::from("hashed.json") } else { name });
        }
    }
    names
}

#[tokio::test]
#[ignore = "needs ollama"]
async fn the_compatibility_tests_have_one_of_each_state_file() {
    let Some(ollama) = program() else { return };
    let private = Private::start(ollama.clone()).await;
    let home = private.folder.path();
    let gguf = home.join("tiny.gguf");
    fs::copy(part("gemma3/gemma3.gguf"), &gguf).expect("a model");
    let sha256 = Digest::of(fs::read(&gguf).expect("a model"));
    fs::write(home.join("Modelfile"), format!("FROM {}\n", gguf.display())).expect("written");
    private.run(&["create", "tiny", "-f", "Modelfile"]);
    // A web server that answers as llama.cpp's does.
    fs::create_dir_all(home.join("web/v1")).expect("a folder");
    fs::write(home.join("web/health"), "{\"status\": \"ok\"}").expect("written");
    fs::write(home.join("web/v1/models"), "{\"data\": [{\"id\": \"local\"}]}").expect("written");
    fs::write(home.join("token"), "hunter2").expect("written");
    let (ollama_port, port) = (free_port(), free_port());
    let manifest = |context: &str| {
        let values = [
            ("{ollama_port}", ollama_port.to_string()),
            ("{ollama}", ollama.display().to_string()),
            ("{store}", home.join("models").display().to_string()),
            ("{port}", port.to_string()),
            ("{web}", home.join("web").display().to_string()),
            ("{context}", context.to_owned()),
            ("{gguf}", gguf.display().to_string()),
            ("{sha256}", sha256.to_string()),
            ("{token}", home.join("token").display().to_string()),
        ];
        let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
        let text = values.iter().fold(MANIFEST.to_owned(), fill);
        fs::write(home.join("llamero.yaml"), text).expect("written");
    };
    for context in ["512", "1024"] {
        manifest(context);
        llamero(home, &["apply", "--yes"]);
    }
    let version = concat!("tests/suite/states/", env!("CARGO_PKG_VERSION"));
    let version = Path::new(env!("CARGO_MANIFEST_DIR")).join(version);
    let (state, written) = (home.join(".local/state/llamero"), home.join("written"));
    for folder in ["workstation", "artifacts"] {
        copy(&state.join(folder), &written.join(folder));
    }
    llamero(home, &["down", "--purge", "--yes"]);
    if std::env::var_os("UPDATE").is_some() {
        let _ = fs::remove_dir_all(&version);
        copy(&written, &version);
    }
    assert_eq!(names(&written), names(&version), "run this with UPDATE=1, and look at the difference");
}
