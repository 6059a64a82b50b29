//! State files of every version: those under `states/` load for ever, and none of them is read when it is damaged.

use llamero::history::History;
use llamero::resource::{Kind, ResourceId};
use llamero::systems::process::Processes;
use llamero::systems::{artifacts, pulled};
use std::fs;
use std::path::{Path, PathBuf};

fn states() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/states")
}

/// Returns every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut live = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { live.extend(files(&path)) } else { live.push(path) }
    }
    live.sort();
    live
}

/// Copies the state of a version to where it may be damaged.
fn copy(version: &str) -> tempfile::TempDir {
    let copy = crate::folder();
    let from = states().join(version);
    for file in files(&from) {
        let to = copy.path().join(file.strip_prefix(&from).expect("below it"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        fs::copy(file, to).expect("copied");
    }
    copy
}

/// Reads one state file as llamero does, and says what is wrong with it.
fn read(state: &Path, file: &Path) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let stack = state.join("workstation");
    let place = file.strip_prefix(state).expect("a state file").display().to_string();
    let parts: Vec<&str> = place.split('/').collect();
    match parts[..] {
        ["workstation", "generations", number, _] => {
            let history = History::new(stack);
            let generation = history.load(number.parse().expect("a number")).map_err(|error| said(&error))?;
            history.memory().map_err(|error| said(&error))?;
            assert!(generation.is_committed() && generation.revision.desired.resources.len() == 6);
        }
        ["workstation", "processes", name, _] => {
            let processes = Processes::new(stack.join("processes"), PathBuf::from("/bin/false"));
            let state = processes.state(name).map_err(|error| said(&error))?;
            assert_eq!((state.launch.stack.as_str(), &state.launch.resource.name[..]), ("workstation", name));
        }
        ["workstation", "models", name] => {
            let id = ResourceId::new(Kind::Model, name.trim_end_matches(".json"));
            let record = pulled::find(&stack.join("models"), &id).map_err(|error| said(&error))?;
            assert!(record.is_some_and(|record| record.name.starts_with("llamero-workstation/tiny")));
        }
        ["artifacts", _] => {
            let damage = artifacts::damage(&state.join("artifacts")).map_err(|error| said(&error))?;
            damage.first().map_or(Ok(()), |error| Err(said(error)))?;
        }
        _ => unreachable!("{place} is no state file"),
    }
    Ok(())
}

#[test]
fn the_state_of_every_version_is_read() {
    let mut versions = 0;
    for version in fs::read_dir(states()).expect("versions").flatten() {
        versions += 1;
        let kinds = files(&version.path());
        assert_eq!(kinds.len(), 13, "{}: {kinds:?}", version.path().display());
        for file in kinds {
            read(&version.path(), &file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        }
    }
    assert!(versions >= 1, "{versions}");
}

#[test]
fn a_truncated_or_corrupted_state_file_is_reported_at_every_offset() {
    let state = copy("0.1.0");
    for file in files(state.path()) {
        let whole = fs::read(&file).expect("a state file");
        let damaged = |bytes: &[u8], what: String| {
            fs::write(&file, bytes).expect("damaged");
            let why = read(state.path(), &file).expect_err(&what);
            assert!(why.contains(&file.display().to_string()) && why.contains("damaged"), "{what}: {why}");
        };
        for offset in 0..whole.len() {
            damaged(&whole[..offset], format!("{} cut off at {offset}", file.display()));
            let mut bent = whole.clone();
            bent[offset] ^= 1 << (offset % 8);
            damaged(&bent, format!("{} bent at {offset}", file.display()));
        }
        fs::write(&file, &whole).expect("repaired");
        read(state.path(), &file).expect("whole again");
    }
}
