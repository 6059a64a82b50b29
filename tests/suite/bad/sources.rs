//! Models with a wrong digest, missing models, and interrupted downloads.

use super::home::{Home, answering, port, said, signal, stalling, until, web};
use rustix::process::Signal;
use std::fs;

const WRONG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn manifest(home: &Home, source: &str, digest: &str) {
    home.manifest(&format!(
        "providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {}, command: [sleep, \"600\"]}}\n\
         models:\n  tiny: {{provider: llama, source: \"{source}\", sha256: \"{digest}\", insecure: true}}",
        port()
    ));
}

#[test]
fn a_file_with_another_checksum_is_not_used() {
    let home = Home::new();
    let model = home.write("tiny.gguf", "not the one");
    manifest(&home, &format!("file:{}", model.display()), WRONG);
    let said = home.expect(1, &["apply", "--yes"]);
    said.has(&[&model.display().to_string(), WRONG, "sha256", "No running server was changed"]);
    assert_eq!(fs::read_to_string(&model).expect("there"), "not the one");
    assert!(home.processes().is_empty());
}

/// Returns the files below the home that have a name of a model.
fn models(home: &Home) -> Vec<std::path::PathBuf> {
    home.listing().into_keys().filter(|path| path.extension().is_some_and(|extension| extension == "gguf")).collect()
}

#[test]
fn a_download_with_another_checksum_is_never_visible() {
    let home = Home::new();
    let server = answering("200 OK", "not the one");
    let url = format!("http://127.0.0.1:{server}/tiny.gguf");
    manifest(&home, &url, WRONG);
    for _ in 0..2 {
        let said = home.expect(1, &["apply", "--yes"]);
        said.has(&[&url, WRONG, "No running server was changed"]);
        assert_eq!(models(&home), Vec::<std::path::PathBuf>::new());
    }
    assert!(home.processes().is_empty());
}

#[test]
fn a_missing_source_is_an_error() {
    let home = Home::new();
    let server = answering("404 Not Found", "no");
    let url = format!("http://127.0.0.1:{server}/tiny.gguf");
    manifest(&home, &url, WRONG);
    let said = home.expect(1, &["apply", "--yes"]);
    said.has(&[&url, "404", "No running server was changed"]);
    assert_eq!(models(&home), Vec::<std::path::PathBuf>::new());
    assert!(home.processes().is_empty());
    home.expect(0, &["history", "--json"]).has(&["abandoned", "404"]);
}

#[test]
fn a_rehearsal_that_touched_nothing_can_be_made_again() {
    let home = Home::new();
    home.manifest(&format!("services:\n{}", web("web", port(), "one", "")));
    home.expect(0, &["apply", "--yes"]);
    manifest(&home, &format!("http://127.0.0.1:{}/tiny.gguf", stalling()), WRONG);
    for generation in [2, 3] {
        let child = home.begin(&["apply", "--rehearse", "--prune-anyway", "--yes"]);
        let begun = home.record(&format!("generations/{generation}/desired"));
        until("it has begun", || begun.exists());
        signal(&child, Signal::INT);
        let stopped = said(child);
        assert_eq!(stopped.code, 8, "{stopped}");
    }
}

#[test]
fn an_interrupted_download_is_kept_and_purged_with_the_stack() {
    for stop in [Signal::INT, Signal::KILL] {
        let home = Home::new();
        let url = format!("http://127.0.0.1:{}/tiny.gguf", stalling());
        manifest(&home, &url, WRONG);
        let child = home.begin(&["apply", "--yes"]);
        let parts = || -> Vec<_> {
            let named = |path: &std::path::PathBuf| path.display().to_string().contains("tiny.gguf");
            home.listing().into_iter().filter(|(path, _)| named(path)).collect()
        };
        until("bytes arrive", || parts().iter().any(|(_, (_, _, size, _))| *size >= 1 << 19));
        signal(&child, stop);
        let stopped = said(child);
        if stop == Signal::INT {
            assert_eq!(stopped.code, 8, "{stopped}");
            stopped.has(&["Interrupted"]);
            assert!(!stopped.err.contains("error:"), "stopping is no error: {stopped}");
        }
        assert!(!parts().is_empty() && models(&home).is_empty());
        home.expect(0, &["down", "--purge", "--yes"]);
        assert!(parts().is_empty(), "{:?}", parts());
    }
}
