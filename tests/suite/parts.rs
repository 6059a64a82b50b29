//! The paths of the parts that `tests/real/install` creates: the content determines the path, so that a cache never
//! hides a missing step.

use crate::skipped;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const INSTALL: &str = "tests/real/install";
const MANIFEST: &str = "manifests/quickstart.yaml";

/// A copy of what decides about the parts, to be changed.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(crate::folder());
        let recipes = fs::read_dir(source("tests/real/parts")).expect("recipes").flatten();
        let recipes = recipes.map(|entry| format!("tests/real/parts/{}", entry.file_name().to_string_lossy()));
        for path in recipes.chain([INSTALL, MANIFEST].map(str::to_owned)) {
            let copy = checkout.0.path().join(&path);
            fs::create_dir_all(copy.parent().expect("a parent")).expect("a folder");
            fs::copy(source(&path), copy).expect("copied");
        }
        checkout
    }

    fn change(&self, path: &str, from: &str, to: &str) {
        let path = self.0.path().join(path);
        let before = fs::read_to_string(&path).expect("text");
        let after = before.replacen(from, to, 1);
        assert_ne!(after, before, "{}", path.display());
        fs::write(path, after).expect("written");
    }

    /// Returns the place of each part in a cache.
    fn directories(&self, cache: &Path) -> BTreeMap<String, PathBuf> {
        let mut install = Command::new(self.0.path().join(INSTALL));
        let output =
            install.arg("--list").env("LLAMERO_CACHE", cache).env("LLAMERO_VLLM", "1").output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let parts = text.lines().map(|line| line.split_once('\t').expect("a name and a place"));
        parts.map(|(name, place)| (name.to_owned(), PathBuf::from(place))).collect()
    }
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the names of the parts whose place is another one.
fn moved(before: &BTreeMap<String, PathBuf>, after: &BTreeMap<String, PathBuf>) -> Vec<String> {
    assert!(before.keys().eq(after.keys()));
    before.keys().filter(|name| before[*name] != after[*name]).cloned().collect()
}

#[test]
fn a_parts_content_determines_its_path() {
    if Command::new("python3").arg("-V").output().is_err() {
        return skipped("there is no Python 3, whose version decides too");
    }
    let (checkout, cache) = (Checkout::new(), crate::folder());
    let first = checkout.directories(cache.path());
    assert_eq!(first.keys().collect::<Vec<_>>(), ["gemma3", "litellm", "llama", "ollama", "vllm"]);
    assert!(first.values().all(|place| place.starts_with(cache.path()) && !place.exists()), "{first:?}");
    assert_eq!(checkout.directories(cache.path()), first);

    let changes = [
        ("tests/real/parts/ollama", "set -e", "set +B; set -e", ["ollama"].as_slice()),
        ("tests/real/parts/vllm", "TORCH=", "TORCH=9.", &["vllm"]),
        ("tests/real/parts/environment", "set -e", "set +B; set -e", &["gemma3", "litellm", "llama"]),
        (MANIFEST, "\"litellm[proxy]==", "\"litellm[proxy]==9.", &["litellm"]),
        (MANIFEST, "\"xllamacpp==", "\"xllamacpp==9.", &["gemma3", "llama"]),
    ];
    let mut before = first;
    for (path, from, to, expected) in changes {
        checkout.change(path, from, to);
        let after = checkout.directories(cache.path());
        assert_eq!(moved(&before, &after), expected, "after a change of {path}");
        before = after;
    }

    let elsewhere = crate::folder();
    assert_eq!(
        moved(&before, &checkout.directories(elsewhere.path())).len(),
        5,
        "a cache that is moved is another one"
    );
}
