//! Texts that stand in files beside the tests: compared, and rewritten when `UPDATE=1` says so.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns a path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("every package lies in the repository").join(path)
}

/// Reads a text.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the names of the folders in a folder, sorted.
pub(crate) fn folders(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entries = entries.map(|entry| entry.expect("an entry can be read"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Compares a text with the file that it is to be; returns what differs.
pub(crate) fn compare(path: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, actual).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    let difference = similar::TextDiff::from_lines(expected.as_str(), actual);
    let shown = difference.unified_diff().context_radius(2).header("expected", "actual").to_string();
    Some(format!("{} is not what comes out (`UPDATE=1 cargo test` rewrites it):\n{shown}", path.display()))
}

/// Fails when there is anything to report.
pub(crate) fn all_well(problems: &[String]) {
    assert!(problems.is_empty(), "{} differ\n{}", problems.len(), problems.join("\n"));
}
