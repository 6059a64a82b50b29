//! Manifests and what is said of them: each folder holds a manifest and the report that a person reads.

use crate::golden;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::{self, Directories};
use llamero_core::resource::Note;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

const FOLDER: &str = "crates/core/tests/suite/manifest_cases";

/// Codes that no folder can show: of a size, of a lock file, and of what a machine lacks.
const UNSHOWN: &[&str] = &["too-large", "not-as-locked", "no-program", "no-python", "unreadable-secret", "unknown-gpu"];

/// Returns what `validate` reports of a manifest.
pub(crate) fn notes(text: &str) -> Vec<Note> {
    let (manifest, mut notes) = manifest::read(text);
    let good = !notes.iter().any(Note::is_error);
    assert_eq!(manifest.is_some(), good, "a manifest is returned exactly when no note is an error");
    if let Some(manifest) = manifest {
        let resolved = resolve::check(&manifest, &LockFile::default(), directories());
        notes.extend(resolved.into_iter().map(|(note, path, span)| note.at(manifest::locate(text, &path, span))));
    }
    notes
}

pub(crate) fn directories() -> Directories {
    let home = PathBuf::from("/home/ai");
    Directories {
        config: home.join(".config"),
        state: home.join(".local/state"),
        data: home.join(".local/share"),
        manifest: home.join("stack"),
        home,
    }
}

/// Returns the report that a user reads.
fn report(text: &str) -> String {
    let notes = notes(text);
    if notes.is_empty() { "no notes\n".to_owned() } else { manifest::report("manifest.yaml", text, &notes, false) }
}

#[test]
fn every_case_has_the_expected_report() {
    let folder = golden::repository(FOLDER);
    let mut problems = Vec::new();
    let names = golden::folders(&folder);
    assert!(names.len() >= 40, "only {} cases were found", names.len());
    for name in names {
        let text = golden::read(&folder.join(&name).join("manifest.yaml"));
        problems.extend(golden::compare(&folder.join(&name).join("notes.txt"), &report(&text)));
    }
    golden::all_well(&problems);
}

#[test]
fn every_code_has_a_case() {
    let mut written = BTreeSet::new();
    let mut folders = ["crates/core/src/manifest", "crates/core/src/resolve"].map(golden::repository).to_vec();
    while let Some(folder) = folders.pop() {
        folders.extend(golden::folders(&folder).into_iter().map(|name| folder.join(name)));
        for entry in std::fs::read_dir(&folder).expect("the sources can be listed") {
            let path = entry.expect("an entry can be read").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                written.extend(codes(&golden::read(&path)));
            }
        }
    }
    assert!(written.len() > 20, "only {written:?} were found");
    let folder = golden::repository(FOLDER);
    let mut reported: BTreeSet<String> = UNSHOWN.iter().map(|code| (*code).to_owned()).collect();
    for name in golden::folders(&folder) {
        reported
            .extend(notes(&golden::read(&folder.join(name).join("manifest.yaml"))).into_iter().map(|note| note.code));
    }
    let unreported: Vec<&String> = written.difference(&reported).collect();
    assert!(unreported.is_empty(), "no case shows {unreported:?}");
}

/// Returns the codes of the notes that a source makes.
fn codes(source: &str) -> Vec<String> {
    let makers = ["Note::error(", "Note::warning(", "Self::new(", "Error::new("];
    let makes = makers.iter().flat_map(|maker| source.split(maker).skip(1));
    let codes = makes.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    codes.map(str::to_owned).collect()
}

#[test]
fn a_plaintext_secret_is_never_shown() {
    let folder = golden::repository(FOLDER);
    for name in golden::folders(&folder).iter().filter(|name| name.starts_with("secret-in-clear")) {
        let report = report(&golden::read(&folder.join(name).join("manifest.yaml")));
        for secret in ["sk-", "hf_abc", "second", "1234567890"] {
            assert!(!report.contains(secret), "{name} shows a secret:\n{report}");
        }
    }
}

#[test]
fn a_huge_file_is_refused_before_it_is_parsed() {
    let line = "  - an entry that stands here many times over\n";
    let text = format!("version: 1\nstack: home\nservices:\n{}", line.repeat((10 << 20) / line.len()));
    let (manifest, notes) = manifest::read(&text);
    assert!(manifest.is_none());
    assert_eq!(notes.iter().map(|note| note.code.as_str()).collect::<Vec<_>>(), ["too-large"]);
}

/// How much work that is, `bench/linear` counts.
#[test]
fn a_large_file_below_the_limit_is_read() {
    let entry = |index: usize| format!("  m{index}: {{provider: absent, source: 'x', context: 0, colour: blue}}\n");
    let models: String = (0..2_000).map(entry).collect();
    let text = format!("version: 1\nstack: home\nmodels:\n{models}");
    assert!(text.len() < manifest::LIMIT);
    let (manifest, notes) = manifest::read(&text);
    assert!(manifest.is_none() && !notes.is_empty());
}

/// A good manifest to be spoiled.
const GOOD: &str = include_str!("../../../../manifests/workstation.yaml");

/// What a spoiled place becomes.
fn spoiling() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[-:{}\\[\\],&*#?|>@`\"'%!\n\t 0-9a-zäß🦙\u{0}]{1,6}",
        prop_oneof![Just("null"), Just("[]"), Just("{}"), Just("-1"), Just("1e999"), Just("&a *a"), Just("!!binary x")]
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,200}") {
        report(&text);
    }

    #[test]
    fn no_mutated_manifest_makes_the_parser_panic(
        spoilings in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, spoiling()), 1..4),
    ) {
        let mut letters: Vec<char> = GOOD.chars().collect();
        for (place, length, text) in &spoilings {
            let start = place.index(letters.len());
            let end = (start + length).min(letters.len());
            letters.splice(start..end, text.chars());
        }
        report(&letters.into_iter().collect::<String>());
    }
}
