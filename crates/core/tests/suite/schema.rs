//! The JSON Schema in the repository is the one that the types give, and every example is a good manifest.

use crate::golden;
use llamero_core::manifest;
use std::fs;

#[test]
fn the_schema_is_up_to_date() {
    let schema = serde_json::to_string_pretty(&manifest::schema()).expect("a JSON value can be written");
    let path = golden::repository("manifests/schema.json");
    golden::all_well(&golden::compare(&path, &format!("{schema}\n")).into_iter().collect::<Vec<_>>());
}

#[test]
fn every_example_is_valid_without_a_note() {
    let mut problems = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(golden::repository("manifests")).expect("the examples can be listed") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let text = golden::read(&path);
        let (manifest, notes) = manifest::read(&text);
        if manifest.is_none() || !notes.is_empty() {
            problems.push(manifest::report(&path.display().to_string(), &text, &notes, false));
        }
    }
    assert!(count >= 3, "only {count} examples were found");
    golden::all_well(&problems);
}
