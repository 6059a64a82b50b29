//! The command line as users see it: each file under `cli/` is a recorded session, replayed.
//!
//! `TRYCMD=overwrite cargo test` rewrites them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A home with nothing in it but a path with a `llama-server`.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = crate::folder();
        let programs = home.path().join("bin");
        fs::create_dir(&programs).expect("a folder can be made");
        let program = programs.join("llama-server");
        fs::write(&program, "#!/bin/sh\nexit 1\n").expect("a file can be written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a file can be made a program");
        Self(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns everything that lies in it, apart from what it began with.
    fn content(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.path().to_owned()];
        let mut content = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder can be listed") {
                let path = entry.expect("an entry can be read").path();
                if path == self.path().join("bin") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path.clone());
                }
                content.push(path.strip_prefix(self.path()).expect("it lies in it").to_owned());
            }
        }
        content.sort();
        content
    }
}

fn replay(home: &Home, pattern: &str) {
    let path = |name: &str| home.path().join(name).display().to_string();
    let cases = trycmd::TestCases::new();
    cases.default_bin_name("llamero");
    for (name, value) in [
        ("HOME", path("")),
        ("XDG_CONFIG_HOME", path(".config")),
        ("XDG_STATE_HOME", path(".local/state")),
        ("XDG_DATA_HOME", path(".local/share")),
        ("XDG_RUNTIME_DIR", path("run")),
        ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", path("run/bus"))),
        ("PATH", path("bin")),
        // Nothing listens there: the size of a download stays unknown, whatever network there is.
        ("HF_ENDPOINT", "http://127.0.0.1:9".to_owned()),
        ("NO_COLOR", "1".to_owned()),
        ("COLUMNS", "80".to_owned()),
        ("no_proxy", "127.0.0.1".to_owned()),
    ] {
        cases.env(name, value);
    }
    cases.insert_var("[HOME]", home.path().display().to_string()).expect("it is the name of a variable");
    cases.case(Path::new(env!("CARGO_MANIFEST_DIR")).join(pattern));
}

#[test]
fn every_session_replays_as_written() {
    let home = Home::new();
    replay(&home, "tests/suite/cli/reading/*.trycmd");
    assert_eq!(home.content(), Vec::<PathBuf>::new(), "a read-only command has written");
}

#[test]
fn without_consent_nothing_is_changed() {
    let home = Home::new();
    replay(&home, "tests/suite/cli/refused/*.trycmd");
    // A verb that would change something takes the lock first.
    let locks = ["talk", "nowhere"].map(|stack| Path::new(".local/state/llamero").join(stack).join("lock"));
    let made = home.content();
    let changed: Vec<&PathBuf> = made.iter().filter(|path| !locks.iter().any(|lock| lock.starts_with(path))).collect();
    assert_eq!(changed, Vec::<&PathBuf>::new(), "more was made than the lock");
}
