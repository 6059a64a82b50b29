//! A disk that is full, and files that may not grow.

use super::home::{CommandOutput, Home, UNHEALTHY, answer, port, run, web};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs llamero where the folder `small` of the home is a file system of one mebibyte; `None` where none may be
/// mounted.
fn on_a_small_disk(home: &Home, words: &str) -> Option<CommandOutput> {
    let mut command = Command::new("unshare");
    home.sync(&mut command);
    let folder = home.path("small");
    fs::create_dir_all(&folder).expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=1m none {0} || exit 77; {1} {words}; code=$?; ls -R {0}; exit $code",
        folder.display(),
        env!("CARGO_BIN_EXE_llamero")
    );
    let said = run(command.args(["-rm", "sh", "-c", &script]));
    (said.code != 77 && !said.err.contains("unshare")).then_some(said)
}

#[test]
fn a_full_disk_during_a_download_leaves_the_old_stack() {
    let home = Home::new();
    let web_port = port();
    let web = format!("services:\n{}", web("web", web_port, "one", ""));
    home.manifest(&web);
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();

    let large: &'static str = Box::leak("x".repeat(4 << 20).into_boxed_str());
    let server = super::home::answering("200 OK", large);
    home.manifest(&format!(
        "{web}machine: {{models: {{path: {}, keep_free: 0B}}}}\n\
         providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {}, command: [sleep, \"600\"]}}\n\
         models:\n  tiny: {{provider: llama, source: \"http://127.0.0.1:{server}/tiny.gguf\", insecure: true}}\n",
        home.path("small").display(),
        port(),
    ));
    let Some(said) = on_a_small_disk(&home, "apply --yes") else {
        crate::skipped("no file system may be mounted here");
        return;
    };
    assert_eq!(said.code, 1, "{said}");
    said.has(&["small", "4 MiB", "No running server was changed; the machine is on generation 1", "hint:"]);
    let visible = |line: &str| Path::new(line).extension().is_some_and(|extension| extension == "gguf");
    assert!(!said.out.lines().any(visible), "it is not visible: {said}");
    assert_eq!(home.processes(), before);
    assert_eq!(answer(web_port).as_deref(), Some("one"));
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let home = Home::new();
    let port = port();
    let web = |answer: &str| format!("services:\n{}", web("web", port, answer, ""));
    home.manifest(&web("one"));
    home.expect(0, &["apply", "--yes"]);
    let (before, listing) = (home.processes(), home.listing());
    home.manifest(&web(&"two".repeat(3000)));
    // No file may be larger than this many blocks of 512 bytes: some record of the new generation is.
    let mut shell = Command::new("sh");
    home.sync(&mut shell);
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {} apply --yes", env!("CARGO_BIN_EXE_llamero"));
    let said = run(shell.args(["-c", &script]));
    assert_eq!(said.code, 1, "{said}");
    said.has(&["cannot write", "generations/2/desired"]);
    assert_eq!(home.processes(), before);
    assert_eq!(answer(port).as_deref(), Some("one"));
    let whole =
        |path: &std::path::PathBuf| path.is_file() && !path.ends_with("lock") && !path.ends_with("llamero.yaml");
    let after = home.listing();
    for (path, stamp) in listing.iter().filter(|(path, _)| whole(path)) {
        assert_eq!(after.get(path), Some(stamp), "{}", path.display());
    }
    // With room again it goes on.
    home.manifest(&web("two"));
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(answer(port).as_deref(), Some("two"));
}

#[test]
fn a_full_disk_under_the_log_stops_nothing() {
    let home = Home::new();
    let port = port();
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let quiet = |words: &[&str], out: bool| {
        let mut command = home.command(words);
        command.stderr(full()).stdout(if out { full().into() } else { std::process::Stdio::null() });
        command.status().expect("it runs").code()
    };
    assert_eq!(quiet(&["apply", "--yes"], true), Some(0));
    assert_eq!(answer(port).as_deref(), Some("one"));
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
    // A message that cannot be written is no failure of the apply.
    home.manifest(&format!("services:\n{}", web("web", port, "two", UNHEALTHY)));
    assert_eq!(quiet(&["apply", "--yes"], true), Some(3));
    assert_eq!(answer(port).as_deref(), Some("one"));
    // Data that cannot be written is a failure, before anything is changed.
    assert_eq!(quiet(&["apply", "--yes", "--json"], true), Some(1));
    assert_eq!(quiet(&["plan"], true), Some(1));
    assert_eq!(answer(port).as_deref(), Some("one"));
    assert_eq!(quiet(&["down", "--yes"], true), Some(0));
    assert!(home.processes().is_empty());
}
